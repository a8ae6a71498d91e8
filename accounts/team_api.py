"""API views of the account, its team and its audit log."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import deletion, invitations, memberships, services
from accounts.authentication import actor
from accounts.filters import AuditFilter
from accounts.models import Account, AuditEntry, Invitation, Membership
from accounts.permissions import ADMIN
from accounts.roles import Thing
from accounts.selectors import members
from accounts.team_serializers import (
    AccountSerializer,
    AuditEntrySerializer,
    DeletionSerializer,
    InvitationSerializer,
    MemberSerializer,
)


def account_of(request: Request) -> Account:
    """Return the account in scope; permissions have refused requests without one."""
    http: Any = request._request
    account: Account = http.account
    return account


class AccountView(APIView):
    """The account itself."""

    thing = Thing.ACCOUNT
    scopes = {"patch": ADMIN, "delete": ADMIN}

    @extend_schema(responses=AccountSerializer)
    def get(self, request: Request) -> Response:
        """Return it."""
        return Response(AccountSerializer(account_of(request)).data)

    @extend_schema(request=AccountSerializer, responses=AccountSerializer)
    def patch(self, request: Request) -> Response:
        """Rename it, or ask a second factor of its members."""
        account = account_of(request)
        form = AccountSerializer(account, data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        services.change_account(account=account, actor=actor(request), **form.validated_data)
        return Response(AccountSerializer(account).data)

    @extend_schema(request=DeletionSerializer, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Delete it with everything in it, for good."""
        form = DeletionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        deletion.delete_account(account=account_of(request), actor=actor(request), **form.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MemberViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Membership],
):
    """Who belongs to the account; ids are those of people. New members come by invitation."""

    serializer_class = MemberSerializer
    http_method_names = ["get", "patch", "delete", "head", "options"]
    thing = Thing.TEAM
    scopes = {"partial_update": ADMIN, "destroy": ADMIN}
    lookup_field = "user_id"
    lookup_url_kwarg = "pk"
    lookup_value_regex = "[0-9a-f-]{36}"

    def get_queryset(self) -> QuerySet[Membership]:
        """Return the memberships of the account."""
        if getattr(self, "swagger_fake_view", False):
            return Membership.objects.none()
        return members(account_of(self.request))

    def perform_update(self, serializer: Any) -> None:
        """Change the role."""
        role = serializer.validated_data.get("role", serializer.instance.role)
        serializer.instance = memberships.change_role(
            membership=serializer.instance, role=role, actor=actor(self.request)
        )

    def perform_destroy(self, instance: Membership) -> None:
        """Remove the member; its API keys end as well."""
        memberships.remove_member(membership=instance, actor=actor(self.request))


class InvitationViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Invitation],
):
    """Invitations that wait; the link goes to the invited address alone."""

    serializer_class = InvitationSerializer
    thing = Thing.TEAM
    scopes = {"create": ADMIN, "destroy": ADMIN}

    def get_queryset(self) -> QuerySet[Invitation]:
        """Return the invitations of the account."""
        return Invitation.objects.select_related("invited_by")

    def perform_create(self, serializer: Any) -> None:
        """Send an invitation."""
        account = account_of(self.request)
        serializer.instance = invitations.invite(
            account=account, actor=actor(self.request), **serializer.validated_data
        )

    def perform_destroy(self, instance: Invitation) -> None:
        """Withdraw it."""
        invitations.withdraw(invitation=instance, actor=actor(self.request))


class AuditEntryViewSet(viewsets.ReadOnlyModelViewSet[AuditEntry]):
    """Who changed what, from where, before and after."""

    serializer_class = AuditEntrySerializer
    filterset_class = AuditFilter
    thing = Thing.AUDIT
    scopes = {"list": ADMIN, "retrieve": ADMIN}

    def get_queryset(self) -> QuerySet[AuditEntry]:
        """Return the entries of the account."""
        return AuditEntry.objects.select_related("actor")
