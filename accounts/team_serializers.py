"""Shapes of the account, its team and its audit log in the API."""

from typing import Any

from rest_framework import serializers

from accounts.models import Account, AuditEntry, Invitation, Membership, Role


class AccountSerializer(serializers.ModelSerializer[Account]):
    """The account; `requires_second_factor` asks one of every member."""

    class Meta:
        model = Account
        fields = ("id", "name", "requires_second_factor", "created_at")
        read_only_fields = ("id", "created_at")


class DeletionSerializer(serializers.Serializer[Any]):
    """What confirms the deletion of an account."""

    confirmation = serializers.CharField(trim_whitespace=False, help_text="The account's name.")


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A person in the account."""

    id = serializers.UUIDField(source="user_id", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)
    role = serializers.ChoiceField(choices=Role.choices)

    class Meta:
        model = Membership
        fields = ("id", "email", "name", "role", "created_at")
        read_only_fields = ("created_at",)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An invitation that waits."""

    role = serializers.ChoiceField(choices=Role.choices)
    invited_by = serializers.EmailField(source="invited_by.email", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Invitation
        fields = ("id", "email", "role", "invited_by", "expires_at", "created_at")
        read_only_fields = ("id", "expires_at", "created_at")


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """One change; `changes` is {field: [before, after]}; without `actor` it was Lumos that acted."""

    actor = serializers.EmailField(source="actor.email", read_only=True, allow_null=True, default=None)
    changes = serializers.DictField(child=serializers.ListField(), read_only=True)

    class Meta:
        model = AuditEntry
        fields = (
            "id", "created_at", "actor", "via", "address", "action", "object_type", "object_id", "object_label",
            "changes",
        )  # fmt: skip
        read_only_fields = fields
