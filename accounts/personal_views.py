"""What belongs to a person and not to an account: sessions, the choice of an account, joining and leaving one."""

from typing import Any

from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import invitations, memberships
from accounts.middleware import SESSION_ACCOUNT
from accounts.models import Membership
from lumos.errors import AppError

SESSION_INVITATION = "invitation"


@require_POST
@login_required
def session_end(request: Any, pk: int) -> HttpResponse:
    """Sign one of the person's browsers out."""
    end_sessions(request, [get_object_or_404(UserSession, pk=pk, user=request.user)])
    messages.success(request, "That browser is signed out.")
    return redirect("usersessions_list")


@require_POST
@login_required
def account_switch(request: Any) -> HttpResponse:
    """Work in another one of the person's accounts."""
    wanted = request.POST.get("account", "")
    if wanted not in {str(row.account_id) for row in request.memberships}:
        raise Http404
    request.session[SESSION_ACCOUNT] = wanted
    return redirect("overview")


@require_POST
@login_required
def leave(request: Any) -> HttpResponse:
    """Leave the account; every role may."""
    row = get_object_or_404(Membership, account=request.account, user=request.user)
    try:
        memberships.remove_member(membership=row, actor=request.user)
    except AppError as error:
        messages.error(request, error.detail)
        return redirect("team")
    request.session.pop(SESSION_ACCOUNT, None)
    messages.success(request, f"You have left {request.account.name}.")
    return redirect("overview")


@never_cache
def invitation(request: Any, token: str) -> HttpResponse:
    """Show an invitation, and accept it; who is not signed in yet finds it again afterwards."""
    found = invitations.invitation_by_token(token)
    if found is None:
        return render(request, "accounts/invitation_over.html", status=404)
    if not request.user.is_authenticated:
        request.session[SESSION_INVITATION] = token
    elif request.method == "POST":
        try:
            account = invitations.accept(token=token, user=request.user)
        except AppError as error:
            messages.error(request, error.detail)
            return redirect("invitation", token=token)
        request.session.pop(SESSION_INVITATION, None)
        request.session[SESSION_ACCOUNT] = str(account.pk)
        messages.success(request, f"Welcome to {account.name}.")
        return redirect("overview")
    is_mine = request.user.is_authenticated and invitations.is_for(found, request.user)
    return render(request, "accounts/invitation.html", {"invitation": found, "is_mine": is_mine})
