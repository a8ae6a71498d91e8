"""The team page: members, invitations, roles."""

import uuid

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from accounts import invitations, memberships
from accounts.models import Invitation, Role
from accounts.pages import PageRequest, page
from accounts.roles import Action, Thing
from accounts.selectors import members
from accounts.team_forms import InvitationForm, RoleForm
from lumos.errors import AppError

_MEANING = {
    Role.OWNER: "everything, also the account itself and its owners",
    Role.ADMIN: "everything but the account itself and its owners",
    Role.MEMBER: "changes servers, domains and rules",
    Role.VIEWER: "reads",
}


def _shown(request: PageRequest, form: InvitationForm) -> HttpResponse:
    context = {
        "members": members(request.account),
        "invitations": Invitation.objects.select_related("invited_by"),
        "form": form,
        "roles": [(role.value, role.label, _MEANING[role]) for role in Role],
    }
    return render(request, "accounts/team.html", context)


@page(Action.READ, Thing.TEAM)
def team(request: PageRequest) -> HttpResponse:
    """Show who belongs to the account, and who is invited."""
    return _shown(request, InvitationForm())


@require_POST
@page(Action.ADMIN, Thing.TEAM)
def invite(request: PageRequest) -> HttpResponse:
    """Send an invitation."""
    form = InvitationForm(request.POST)
    if form.is_valid():
        try:
            row = invitations.invite(account=request.account, actor=request.user, **form.cleaned_data)
            messages.success(request, f"{row.email} was invited.")
            return redirect("team")
        except AppError as error:
            form.show(error)
    return _shown(request, form)


@require_POST
@page(Action.ADMIN, Thing.TEAM)
def invitation_withdraw(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """End an invitation."""
    row = get_object_or_404(Invitation.objects.all(), pk=pk)
    invitations.withdraw(invitation=row, actor=request.user)
    messages.success(request, f"The invitation of {row.email} is withdrawn.")
    return redirect("team")


@require_POST
@page(Action.ADMIN, Thing.TEAM)
def member_role(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Give a member another role."""
    row, form = get_object_or_404(members(request.account), user=pk), RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("team")
    try:
        changed = memberships.change_role(membership=row, role=form.cleaned_data["role"], actor=request.user)
        messages.success(request, f"{changed.user} is now {changed.get_role_display().lower()}.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("team")


@require_POST
@page(Action.ADMIN, Thing.TEAM)
def member_remove(request: PageRequest, pk: uuid.UUID) -> HttpResponse:
    """Take a member out of the account."""
    row = get_object_or_404(members(request.account), user=pk)
    try:
        memberships.remove_member(membership=row, actor=request.user)
        messages.success(request, f"{row.user} is no longer a member.")
    except AppError as error:
        messages.error(request, error.detail)
    return redirect("team")
