"""Shapes of API keys in the API."""

from typing import Any

from rest_framework import serializers

from accounts.models import ApiKey, Scope


class ApiKeySerializer(serializers.ModelSerializer[ApiKey]):
    """A key, known by its first 12 characters."""

    scope = serializers.ChoiceField(choices=Scope.choices, default=Scope.WRITE)

    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "scope", "expires_at", "last_used_at", "created_at")
        read_only_fields = ("id", "prefix", "last_used_at", "created_at")


class NewApiKeySerializer(ApiKeySerializer):
    """Answer to create: the only time that the key itself is shown."""

    key = serializers.SerializerMethodField(help_text="Shown once; only its hash is kept.")

    class Meta(ApiKeySerializer.Meta):
        fields = (*ApiKeySerializer.Meta.fields, "key")  # type: ignore[assignment]

    def get_key(self, row: Any) -> str:
        """Return the key that the view just made."""
        return str(self.context["key"])
