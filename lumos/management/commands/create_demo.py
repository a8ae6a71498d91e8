"""Creates what `make run` shows: a person, an account, a server, a domain and an API key."""

import argparse
import json
from typing import Any

from allauth.account.models import EmailAddress
from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.api_keys import create_api_key
from accounts.models import Membership, Scope, User
from accounts.services import create_account
from accounts.tenancy import tenant_scope
from billing.entitlements import locked_wallet
from billing.ledger import book
from billing.models import Kind, Plan, Wallet
from domains.models import Domain
from domains.services import OriginData, add_domain, change_domain
from servers.enrolment import rotate_token
from servers.models import Server
from servers.services import add_server


class Command(BaseCommand):
    """Idempotent: rows are re-used; the password is set, and key and token are issued anew with --rotate."""

    help = __doc__

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", required=True)
        parser.add_argument("--hostname", required=True)
        parser.add_argument("--origin", required=True, help="host:port")
        parser.add_argument("--rotate", action="store_true", help="issue a new API key and server token")
        parser.add_argument("--json", action="store_true", help="accepted for scripts; the output is always JSON")

    @transaction.atomic
    def handle(self, **options: Any) -> None:
        user = _person(options["email"], options["password"])
        membership = Membership.objects.filter(user=user).order_by("pk").first()
        account = membership.account if membership else create_account(owner=user, name="Demo")
        with tenant_scope(account.pk):
            _credits()
            result = {"account": str(account.pk), "email": user.email, **_shield(user, options)}
        self.stdout.write(json.dumps(result))


def _person(email: str, password: str) -> User:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, password, name="Demo")
    if not user.check_password(password):
        user.set_password(password)
        user.save()
    EmailAddress.objects.update_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
    return user


def _credits() -> None:
    """Put the demo account on the largest plan, with credits for a year."""
    wallet, largest = locked_wallet(), Plan.objects.order_by("-max_servers", "pk")[0]
    if wallet.plan.max_servers < largest.max_servers:
        Wallet.objects.filter(pk=wallet.pk).update(plan=largest)
    book(kind=Kind.GRANT, amount=12 * largest.price_microcredits, cause=f"demo:{wallet.pk}", memo="Welcome")


def _shield(user: User, options: dict[str, Any]) -> dict[str, str]:
    result: dict[str, str] = {}
    server: Server | None = Server.objects.filter(name="demo-shield").first()
    if server is None:
        server, result["token"] = add_server(name="demo-shield", region="loopback", actor=user)
    elif options["rotate"]:
        result["token"] = rotate_token(server=server, actor=user)
    if options["rotate"] or "token" in result:
        result["api_key"] = create_api_key(name="demo", scope=Scope.ADMIN, actor=user)[1]
    host, _, port = options["origin"].rpartition(":")
    origin = OriginData(address=host, port=int(port))
    domain: Domain | None = Domain.objects.filter(hostname=options["hostname"]).first()
    if domain is None:
        domain = add_domain(hostname=options["hostname"], origins=[origin], servers=[server], actor=user)
    else:
        change_domain(domain_id=domain.pk, origins=[origin], servers=[server], actor=user)
    return {**result, "server": str(server.pk), "domain": str(domain.pk)}
