"""The cast and small builders: alice owns an account, bob views it, mallory owns another one."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from allauth.account.models import EmailAddress
from django.db import connection, transaction

from accounts.api_keys import create_api_key
from accounts.models import Account, Membership, Role, Scope, User
from accounts.services import create_account
from accounts.tenancy import tenant_scope
from billing.models import Plan, Wallet
from domains.models import Domain
from domains.services import OriginData, add_domain
from servers.models import Epoch, Server
from servers.services import add_server
from tests.factories.mould import Mould
from waf.lists import add_list_entry
from waf.models import ListEntry

PASSWORD = "correct horse battery"


def person(name: str) -> User:
    """Create a verified user `name`@example.com."""
    user = User.objects.create_user(f"{name}@example.com", PASSWORD, name=name.title())
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def member(account: Account, name: str, role: Role) -> User:
    """Create a user with a role in `account`."""
    user = person(name)
    Membership.objects.create(account=account, user=user, role=role)
    return user


def plan(name: str = "Test", **limits: Any) -> Plan:
    """Return a plan that allows everything, but for `limits`."""
    everything = {"has_api_keys": True, "has_email_alerts": True, "has_failover": True, "has_webhooks": True}
    values = {"price_microcredits": 0, "max_servers": 100_000, "analytics_hours": 720, "is_offered": False}
    return Plan.objects.get_or_create(name=name, defaults={**values, **everything, **limits})[0]


@dataclass
class Tenant:
    """An account with a server, a domain and a list entry."""

    account: Account
    owner: User
    server: Server
    token: str
    domain: Domain
    entry: ListEntry
    api_key: str

    @property
    def scope(self) -> Any:
        """Open the account's scope."""
        return tenant_scope(self.account.pk)


MOULDS: dict[tuple[str, str], Mould[Tenant]] = {}


def tenant(owner_name: str, hostname: str) -> Tenant:
    """Create an owner with a complete small account; from a mould where what follows a commit is of no interest."""
    # Tests with real transactions empty every table, what migrations wrote included.
    Epoch.objects.get_or_create(pk=1, defaults={"value": "test"})
    mould = MOULDS.get((owner_name, hostname))
    if mould is None or not connection.in_atomic_block:
        return _made_tenant(owner_name, hostname)
    made = mould.cast()
    Wallet.unscoped.bulk_create([Wallet(account=made.account, plan=plan())])
    return made


def make_moulds() -> None:
    """Make the cast once, with the settings as they are, and leave nothing in the database."""
    for names in (("alice", "alice.example"), ("mallory", "mallory.example")):
        with transaction.atomic():
            plan()
            MOULDS[names] = Mould(partial(_made_tenant, *names), without=[Wallet])
            transaction.set_rollback(True)


def _made_tenant(owner_name: str, hostname: str) -> Tenant:
    owner = person(owner_name)
    account = create_account(owner=owner, name=f"{owner_name}'s")
    Wallet.unscoped.bulk_create([Wallet(account=account, plan=plan())])
    with tenant_scope(account.pk):
        server, token = add_server(name=f"{owner_name}-shield", actor=owner)
        domain = add_domain(
            hostname=hostname, origins=[OriginData(address="127.0.0.1", port=8080)], servers=[server], actor=owner
        )
        entry = add_list_entry(domain=domain, kind="deny", network="203.0.113.7", actor=owner)
        _, api_key = create_api_key(name="ci", scope=Scope.ADMIN, actor=owner)
        server.refresh_from_db()
    return Tenant(account, owner, server, token, domain, entry, api_key)
