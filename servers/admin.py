"""Shields for the operator."""

from django.contrib import admin

from lumos.operator import ReadOnlyAdmin
from servers.models import Server


@admin.register(Server)
class ServerAdmin(ReadOnlyAdmin):
    """Shields of all accounts with what they last said."""

    list_display = ("name", "account", "status", "apply_state", "revision", "applied_revision", "last_seen_at")
    list_filter = ("apply_state",)
    list_select_related = ("account",)
    search_fields = ("name", "=id", "account__name", "public_ipv4", "public_ipv6")
    exclude = ("token_hash",)
    ordering = ("-created_at",)
