"""Shapes of billing in the API. Amounts are integers of micro-credits; a credit has 1,000,000."""

from typing import Any

from rest_framework import serializers

from billing import selectors
from billing.models import BOOKINGS, LedgerEntry, Plan, TopUp


class BillingPlanSerializer(serializers.ModelSerializer[Plan]):
    """What an account may have. The price is for 30 days, charged in 8,640 parts of five minutes."""

    class Meta:
        model = Plan
        fields = (
            "name", "price_microcredits", "max_servers", "analytics_hours", "has_api_keys", "has_email_alerts",
            "has_failover", "has_webhooks",
        )  # fmt: skip


class ForecastSerializer(serializers.Serializer[Any]):
    """The balance some days from now."""

    days = serializers.IntegerField()
    balance_microcredits = serializers.IntegerField(source="balance")


class StandingSerializer(serializers.Serializer[selectors.Standing]):
    """Plan, balance, and how long it lasts."""

    plan = BillingPlanSerializer()
    next_plan = BillingPlanSerializer(allow_null=True)
    next_plan_at = serializers.DateTimeField(allow_null=True)
    balance_microcredits = serializers.IntegerField(source="balance")
    is_frozen = serializers.BooleanField(help_text="Changes, API keys and alerts are refused; traffic goes on.")
    is_low = serializers.BooleanField(help_text="The balance is below `low_below_microcredits`.")
    low_below_microcredits = serializers.IntegerField(source="low_below")
    run_out_at = serializers.DateTimeField(allow_null=True, help_text="null: nothing is charged, or not for 100 years.")
    forecast = ForecastSerializer(many=True)


class PlanChoiceSerializer(serializers.Serializer[Any]):
    """Which plan to have from the next cycle on."""

    plan = serializers.SlugRelatedField(slug_field="name", queryset=Plan.objects.filter(is_offered=True))


class LedgerEntrySerializer(serializers.ModelSerializer[LedgerEntry]):
    """One booking."""

    kind = serializers.ChoiceField(choices=BOOKINGS)

    class Meta:
        model = LedgerEntry
        fields = ("kind", "amount_microcredits", "cause", "memo", "created_at")


class ChargeSerializer(serializers.ModelSerializer[LedgerEntry]):
    """The charge of one cycle; `cycle` is the Unix time of its begin divided by 300.

    Its amount is floor((c + 1) * p / 8640) - floor(c * p / 8640), with c = cycle mod 8640 and p the price. Charges that
    are older than two months are one for each day and price: of `cycles` cycles, `cycle` being the first.
    """

    class Meta:
        model = LedgerEntry
        fields = ("cycle", "cycles", "price_microcredits", "amount_microcredits", "created_at")


class TopUpSerializer(serializers.ModelSerializer[TopUp]):
    """Credits that were bought, or are about to be."""

    class Meta:
        model = TopUp
        fields = (
            "id", "provider", "amount_microcredits", "currency", "state", "paid_at", "refunded_microcredits",
            "created_at",
        )  # fmt: skip
        read_only_fields = ("id", "provider", "currency", "state", "paid_at", "refunded_microcredits", "created_at")


class StartedTopUpSerializer(TopUpSerializer):
    """Answer to create: where to pay."""

    url = serializers.SerializerMethodField(help_text="The provider's page; it is good for 24 hours.")

    class Meta(TopUpSerializer.Meta):
        fields = (*TopUpSerializer.Meta.fields, "url")  # type: ignore[assignment]

    def get_url(self, row: Any) -> str:
        """Return the address that the view just got."""
        return str(self.context["url"])
