"""Accounts, people and the audit log for the operator."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from accounts import audit, services
from accounts.models import Account, AuditEntry, Membership, User
from accounts.second_factor import has_second_factor
from accounts.tenancy import tenant_scope
from lumos.operator import ReadOnlyAdmin

# The library's own pages of these search by a user name, which people here have none of.
admin.site.unregister([Authenticator, UserSession, SocialAccount, SocialApp, SocialToken])


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    """Who belongs to an account, to look at."""

    model = Membership
    fields = readonly_fields = ("user", "role", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People join by invitation."""
        return False


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts; an operator may rename one and take its second-factor rule back."""

    list_display = ("name", "id", "people", "requires_second_factor", "created_at")
    search_fields = ("name", "=id", "memberships__user__email")
    fields = ("id", "name", "requires_second_factor", "created_at")
    readonly_fields = ("id", "created_at")
    ordering = ("-created_at",)
    inlines = (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """Return the accounts with the number of their members."""
        rows: QuerySet[Account] = super().get_queryset(request).annotate(people=Count("memberships"))
        return rows

    @admin.display(description="members", ordering="people")
    def people(self, row: Any) -> int:
        """Return how many people belong to it."""
        return int(row.people)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has Django's permission."""
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        """Save through the service, so that the account's own audit log tells it."""
        before = Account.objects.get(pk=obj.pk)
        actor: Any = request.user
        audit.source.set(audit.Source(address=request.META.get("REMOTE_ADDR"), via="operator"))
        with tenant_scope(obj.pk):
            services.change_account(
                account=before, actor=actor, name=obj.name, requires_second_factor=obj.requires_second_factor
            )


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    """People; an operator may lock one out, make one staff, and remove lost second factors."""

    list_display = ("email", "name", "is_active", "is_staff", "second_factor", "date_joined")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name", "=id")
    fields = ("id", "email", "name", "is_active", "is_staff", "is_superuser", "date_joined", "last_login")
    readonly_fields = ("id", "email", "name", "date_joined", "last_login")
    ordering = ("-date_joined",)
    actions = ("remove_second_factors",)

    @admin.display(boolean=True)
    def second_factor(self, user: User) -> bool:
        """Return whether the person has one."""
        return has_second_factor(user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever has Django's permission."""
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    @admin.action(description="Remove lost second factors", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, people: QuerySet[User]) -> None:
        """Let people who lost theirs sign in with the password alone; check who asks before."""
        for person in people:
            Authenticator.objects.filter(user=person).delete()
            self.log_change(request, person, "Removed the second factors.")
        messages.success(request, f"Second factors of {len(people)} removed.")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The audit logs of all accounts."""

    list_display = ("created_at", "account", "actor", "via", "address", "action", "object_label")
    list_select_related = ("account", "actor")
    search_fields = ("actor__email", "object_label", "=object_id", "action")
    ordering = ("-created_at",)
    show_full_result_count = False
