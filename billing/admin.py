"""The operator's pages of money: plans, balances, grants with a reason, refunds. Entries are only read."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.html import format_html

from accounts import audit
from accounts.tenancy import tenant_scope
from billing import ledger, money, top_ups
from billing.forms import CreditsField
from billing.models import Cycle, LedgerEntry, Plan, TopUp, Wallet
from lumos.errors import AppError
from lumos.operator import ReadOnlyAdmin


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]
    """A plan whose price is entered in credits."""

    price = CreditsField(label="Price per 30 days, in credits")

    class Meta:
        model = Plan
        fields = [
            "name", "max_servers", "analytics_hours", "has_api_keys", "has_email_alerts", "has_failover",
            "has_webhooks", "is_default", "is_offered",
        ]  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["price"].initial = money.text(self.instance.price_microcredits or 0)

    def clean_price(self) -> int:
        """Return micro-credits within what the arithmetic can do."""
        price: int = self.cleaned_data["price"]
        if not 0 <= price <= money.PRICE_MAX:
            raise forms.ValidationError(f"Enter 0 to {money.text(money.PRICE_MAX)}.")
        self.instance.price_microcredits = price
        return price


@admin.register(Plan)
class PlanAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Plans; a new price holds from the next cycle on."""

    form = PlanForm
    list_display = ("name", "price", "max_servers", "analytics_hours", "is_default", "is_offered")

    @admin.display(description="price per 30 days")
    def price(self, plan: Plan) -> str:
        """Return it in credits."""
        return money.text(plan.price_microcredits)


class AmountForm(forms.Form):
    """Credits and why; the key makes a form that is sent twice one decision."""

    amount = CreditsField(label="Credits", help_text="Negative: taken away.")
    reason = forms.CharField(max_length=200, help_text="The customer sees it.")
    key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


class RefundForm(forms.Form):
    """How much of a payment to give back."""

    amount = CreditsField(label="Amount")


def _decide(request: HttpRequest, form: Any, title: str, decide: Any, back: str) -> HttpResponse:
    """Show a form until `decide` (called with its data) accepts it."""
    if not request.user.has_perm("billing.change_wallet"):
        raise PermissionDenied
    if request.method == "POST" and form.is_valid():
        try:
            decide(form.cleaned_data)
            messages.success(request, "Done.")
            return redirect(back)
        except AppError as error:
            form.add_error(error.field if error.field in form.fields else None, error.detail)
    return render(
        request, "admin/billing/decide.html", {**admin.site.each_context(request), "form": form, "title": title}
    )


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    """Balances; credits are given here. The plan may be set without asking for a balance."""

    list_display = ("account", "plan", "balance", "frozen_at", "low_at", "give")
    list_filter = ("plan", ("frozen_at", admin.EmptyFieldListFilter))
    list_select_related = ("account", "plan")
    search_fields = ("account__name", "account__memberships__user__email")
    fields = ("account", "plan", "next_plan", "balance", "frozen_at", "low_at", "created_at")
    readonly_fields = ("account", "next_plan", "balance", "frozen_at", "low_at", "created_at")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The plan can be changed."""
        return request.user.has_perm("billing.change_wallet")

    def save_model(self, request: Any, obj: Wallet, form: Any, change: bool) -> None:
        """Set the plan and nothing else: the balance may have moved since the page was opened."""
        with tenant_scope(obj.account_id):
            before = Wallet.objects.select_related("plan").get(pk=obj.pk).plan
            Wallet.objects.filter(pk=obj.pk).update(plan=obj.plan, next_plan=None, next_plan_cycle=None)
            ledger.settle([obj.pk])
            audit.record(request.user, audit.Action.PLAN_CHANGED, obj, {"plan": [before.name, obj.plan.name]})

    def get_urls(self) -> list[Any]:
        """Add the page that gives credits."""
        own = path("<int:pk>/grant", self.admin_site.admin_view(self.grant), name="billing_wallet_grant")
        return [own, *super().get_urls()]

    def grant(self, request: Any, pk: int) -> HttpResponse:
        """Give credits with a reason."""
        wallet = get_object_or_404(Wallet.unscoped.select_related("account"), pk=pk)

        def decide(data: dict[str, Any]) -> None:
            with tenant_scope(wallet.account_id):
                ledger.grant(amount=data["amount"], reason=data["reason"], actor=request.user, key=str(data["key"]))

        title = f"Give credits to {wallet.account}"
        return _decide(request, AmountForm(request.POST or None), title, decide, "admin:billing_wallet_changelist")

    @admin.display(description="balance", ordering="balance_microcredits")
    def balance(self, wallet: Wallet) -> str:
        """Return it in credits."""
        return money.text(wallet.balance_microcredits)

    @admin.display(description="")
    def give(self, wallet: Wallet) -> str:
        """Return the link to the grant."""
        return format_html('<a href="{}">Give credits</a>', reverse("admin:billing_wallet_grant", args=[wallet.pk]))


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """All bookings."""

    list_display = ("created_at", "account", "kind", "amount", "memo", "cycle", "cause")
    list_filter = ("kind",)
    list_select_related = ("account",)
    search_fields = ("=cause", "account__name")
    show_full_result_count = False

    @admin.display(description="credits")
    def amount(self, entry: LedgerEntry) -> str:
        """Return it in credits."""
        return money.text(entry.amount_microcredits)


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin):
    """Payments; they are given back here."""

    list_display = ("created_at", "account", "__str__", "state", "provider", "payment", "given_back", "refund_link")
    list_filter = ("state", "provider")
    list_select_related = ("account",)
    search_fields = ("=payment", "=reference", "account__name")

    def get_urls(self) -> list[Any]:
        """Add the page that gives a payment back."""
        own = path("<uuid:pk>/refund", self.admin_site.admin_view(self.refund), name="billing_topup_refund")
        return [own, *super().get_urls()]

    def refund(self, request: Any, pk: uuid.UUID) -> HttpResponse:
        """Give a payment back, in part or whole."""
        payment = get_object_or_404(TopUp.unscoped.select_related("account"), pk=pk)

        def decide(data: dict[str, Any]) -> None:
            with tenant_scope(payment.account_id):
                top_ups.refund_top_up(top_up=payment, amount=data["amount"], actor=request.user)

        title = f"Give {payment} back to {payment.account}"
        return _decide(request, RefundForm(request.POST or None), title, decide, "admin:billing_topup_changelist")

    @admin.display(description="given back")
    def given_back(self, payment: TopUp) -> str:
        """Return it in units of the currency."""
        return money.text(payment.refunded_microcredits)

    @admin.display(description="")
    def refund_link(self, payment: TopUp) -> str:
        """Return the link to the refund of a payment that was made."""
        if payment.paid_at is None:
            return ""
        return format_html('<a href="{}">Refund</a>', reverse("admin:billing_topup_refund", args=[payment.pk]))


@admin.register(Cycle)
class CycleAdmin(ReadOnlyAdmin):
    """Cycles that were charged, newest first; a number that is missing was never charged."""

    list_display = ("number", "started_at", "finished_at", "accounts", "frozen")
