"""Choosing a plan: it begins with the next cycle."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import ApiKey, User
from billing import money
from billing.cycle import number_at
from billing.entitlements import locked_wallet
from billing.models import Plan, Wallet
from lumos.errors import Conflict, InvalidInput, PaymentRequired
from servers.models import Server

NAMED = 5


@transaction.atomic
def choose_plan(*, plan: Plan, actor: User) -> Wallet:
    """Have `plan` from the next cycle on; choosing the present one takes an earlier choice back.

    Limits of a smaller plan hold from now on, so that nothing can be added that would have to go. A frozen account may
    choose too: a plan that its balance covers ends the freeze.

    Raises:
        InvalidInput: the plan is not offered.
        PaymentRequired: the balance is below the plan's price.
        Conflict: more is in use than the plan has; the message names what must go first.
    """
    wallet = locked_wallet()
    if not plan.is_offered and plan != wallet.plan:
        raise InvalidInput("This plan is not offered; choose another one.", field="plan")
    before = wallet.next_plan or wallet.plan
    if plan == before:
        return wallet
    if plan != wallet.plan:
        _require_balance(wallet, plan)
        _require_fit(plan)
    wallet.next_plan = None if plan == wallet.plan else plan
    wallet.next_plan_cycle = None if plan == wallet.plan else number_at(timezone.now()) + 1
    Wallet.objects.filter(pk=wallet.pk).update(next_plan=wallet.next_plan, next_plan_cycle=wallet.next_plan_cycle)
    audit.record(actor, audit.Action.PLAN_CHANGED, wallet, {"plan": [before.name, plan.name]})
    return wallet


def _require_balance(wallet: Wallet, plan: Plan) -> None:
    missing = plan.price_microcredits - wallet.balance_microcredits
    if missing > 0 and plan.price_microcredits:
        raise PaymentRequired(
            f"{plan} costs {money.text(plan.price_microcredits)} credits for 30 days, and the balance is "
            f"{money.text(wallet.balance_microcredits)}. Top up at least {money.text(missing)} first.",
            field="plan",
        )


def _require_fit(plan: Plan) -> None:
    """Refuse a plan that has less than what is in use."""
    must_go = []
    servers = list(Server.objects.order_by("-created_at").values_list("name", flat=True))
    if (excess := len(servers) - plan.max_servers) > 0:
        must_go.append(f"{excess} of {len(servers)} servers ({_named(servers)})")
    keys = [] if plan.has_api_keys else list(ApiKey.objects.values_list("name", flat=True))
    if keys:
        must_go.append(f"{len(keys)} API key{'s' * (len(keys) > 1)} ({_named(keys)})")
    if must_go:
        servers_of = "1 server" if plan.max_servers == 1 else f"{plan.max_servers} servers"
        raise Conflict(
            f"{plan} has {servers_of}{'' if plan.has_api_keys else ' and no API keys'}. "
            f"Remove {' and '.join(must_go)} first.",
            field="plan",
        )


def _named(names: list[Any]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
