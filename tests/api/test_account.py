"""The account itself: its name, its rule for members, its audit log, its export and its end."""

import io
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import redis
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import IntegrityError, models, transaction
from django.test import Client, TestCase
from django.utils import timezone

from accounts.models import Account, ApiKey, AuditEntry, Membership, Role, User
from accounts.selectors import active_membership
from accounts.tenancy import TenantModel
from lumos.secrets import Secret, SecretField
from servers.enrolment import server_by_token
from tests.conftest import Api
from tests.factories import Tenant, member
from tests.test_tenancy_doors import tenant_models

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


def with_factor(user: User) -> User:
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return user


# The rule for members


def test_a_required_second_factor_locks_out_who_has_none(alice: Tenant, bob: User, signed_in: SignedIn) -> None:
    with_factor(alice.owner)
    owner, viewer = signed_in(alice.owner), signed_in(bob)
    assert owner.post("/account/second-factor", {"requires_second_factor": "on"}).status_code == 302
    assert owner.get("/servers").status_code == 200
    refused = viewer.get("/servers")
    assert refused.status_code == 403
    assert "Set it up" in refused.content.decode()
    answer = viewer.get("/api/v1/servers")
    assert answer.status_code == 403
    assert "second factor" in answer.json()["detail"]
    assert active_membership(bob, str(alice.account.pk)) is None
    with_factor(bob)
    assert viewer.get("/servers").status_code == 200


def test_nobody_locks_themselves_out(alice: Tenant, api: Api) -> None:
    assert api.patch("/account", {"requires_second_factor": True}).status_code == 409
    assert api.get("/account").json()["requires_second_factor"] is False


def test_account_is_renamed(alice: Tenant, api: Api) -> None:
    assert api.patch("/account", {"name": "Alice & Co"}).json()["name"] == "Alice & Co"
    entry = api.get("/audit-entries?action=account.changed").json()["results"][0]
    assert entry["changes"] == {"name": ["alice's", "Alice & Co"]}


# The audit log


def test_entries_tell_who_from_where_and_what(alice: Tenant, api: Api) -> None:
    api.patch(f"/servers/{alice.server.pk}", {"region": "Berlin"})
    entry = api.get("/audit-entries").json()["results"][0]
    assert entry["actor"] == "alice@example.com"
    assert entry["via"] == f"key {alice.api_key[:12]}"
    assert entry["address"] == "127.0.0.1"
    assert (entry["action"], entry["object_id"]) == ("server.changed", str(alice.server.pk))
    assert entry["changes"] == {"region": ["", "Berlin"]}


def test_entries_are_filtered_in_api_page_and_csv(alice: Tenant, api: Api, signed_in: SignedIn) -> None:
    api.patch(f"/servers/{alice.server.pk}", {"region": "=1+1"})
    found = api.get("/audit-entries?action=server.changed").json()["results"]
    assert [row["action"] for row in found] == ["server.changed"]
    client: Any = signed_in(alice.owner)
    assert "domain.added" not in client.get("/audit?action=server.changed").content.decode().split("<tbody>")[1]
    lines = client.get("/audit/csv?action=server.changed").getvalue().decode().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("time,actor,via,address,action")
    assert api.get("/audit-entries?address=nonsense").status_code == 400
    assert client.get("/audit/csv?since=nonsense").status_code == 200


def test_the_log_has_no_secret(alice: Tenant, api: Api) -> None:
    key = api.post("/api-keys", {"name": "k"}).json()["key"]
    token = api.post(f"/servers/{alice.server.pk}/rotate-token").json()["token"]
    with alice.scope:
        everything = str(list(AuditEntry.objects.values()))
    for secret in (key, token, alice.token, alice.api_key):
        assert secret not in everything


# Export


def test_export_is_one_archive_without_secrets(alice: Tenant, signed_in: SignedIn) -> None:
    answer: Any = signed_in(alice.owner).get("/account/export")
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert archive.testzip() is None
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert "alice.example" in texts["configuration.json"]
    assert "alice@example.com,Alice,owner" in texts["members.csv"]
    assert "server.added" in texts["audit.csv"]
    assert texts["events.csv"].startswith("time,")
    assert not any(secret in text for text in texts.values() for secret in (alice.token, alice.api_key))


# The end


def a_value(field: Any, unique: int) -> Any:
    """Return some value for a column that has no default."""
    if isinstance(field, models.UUIDField):
        return uuid.uuid4()
    if isinstance(field, models.DateTimeField):
        return timezone.now()
    if isinstance(field, models.DateField):
        return timezone.now().date()
    if isinstance(field, SecretField):
        return Secret.of("secret")
    if isinstance(field, models.BinaryField):
        return b""
    if isinstance(field, models.GenericIPAddressField):
        return "192.0.2.1"
    if isinstance(field, models.JSONField):
        return {}
    if isinstance(field, models.BooleanField):
        return False
    if isinstance(field, models.IntegerField | models.FloatField | models.DecimalField):
        return unique
    return str(unique)[: field.max_length]


def fill(tenant: Tenant) -> None:
    """Give the account at least one row of every tenant model, whatever models there are."""
    missing = [model for model in tenant_models() if not of_account(model, tenant.account.pk)]
    for number, model in enumerate(missing, start=10):
        try:
            with transaction.atomic():
                model.unscoped.bulk_create([a_row(model, tenant, number, optional=False)])
        except IntegrityError:  # a constraint asks for one of the optional columns
            model.unscoped.bulk_create([a_row(model, tenant, number, optional=True)])


def a_row(model: type[TenantModel], tenant: Tenant, number: int, *, optional: bool) -> Any:
    """Return a row of the account with some value in every column, in those that may be null if `optional`."""
    row: Any = model(account=tenant.account)
    for field in model._meta.concrete_fields:
        if field.name == "account" or field.primary_key or field.has_default() or (field.null and not optional):
            continue
        if isinstance(field, models.ForeignKey):
            target: Any = field.related_model
            rows = getattr(target, "unscoped", target._base_manager)
            of_tenant = rows.filter(account=tenant.account) if issubclass(target, TenantModel) else rows
            setattr(row, field.name, of_tenant.first())
        else:
            setattr(row, field.name, a_value(field, number))
    return row


def of_account(model: type[TenantModel], account_id: Any) -> int:
    return int(model.unscoped.filter(account_id=account_id).count())


def everything() -> dict[str, int]:
    """Return the number of rows of every table but those that no account owns."""
    return {
        model._meta.label: model._base_manager.count()
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label not in {"contenttypes", "auth"} and not issubclass(model, Session)
    }


def counters() -> list[Any]:
    """Return the keys of this test's counters in Redis."""
    client: Any = redis.Redis.from_url(settings.REDIS_URL)
    return list(client.scan_iter(f"{settings.LIMITS_PREFIX}:*"))


@pytest.fixture
def only_mallory(mallory: Tenant) -> dict[str, int]:
    """Return how many rows there are before alice comes."""
    return everything()


def test_deletion_leaves_no_row(
    only_mallory: dict[str, int], alice: Tenant, mallory: Tenant, signed_in: SignedIn, api: Api
) -> None:
    member(alice.account, "carol", Role.MEMBER)
    Membership.objects.create(account=alice.account, user=mallory.owner, role="viewer")
    fill(alice)
    for model in tenant_models():
        assert of_account(model, alice.account.pk), f"give the account a row of {model.__name__}"
    client: Any = signed_in(alice.owner)
    client.get("/account")
    key = client.session.session_key
    assert client.post("/account/delete", {"confirmation": "alice"}).status_code == 200
    assert Account.objects.filter(pk=alice.account.pk).exists()
    assert api.get("/servers").status_code == 200
    assert counters()
    with TestCase.captureOnCommitCallbacks(execute=True):
        assert client.post("/account/delete", {"confirmation": "alice's"}).status_code == 302
    assert counters() == []
    assert everything() == only_mallory
    assert server_by_token(alice.token) is None
    assert api.get("/servers").status_code == 401
    assert not Session.objects.filter(session_key=key).exists()
    assert User.objects.filter(pk=mallory.owner.pk).exists()
    assert Api(mallory.api_key).get("/servers").json()["results"]


def test_deletion_by_the_api_asks_for_the_name(alice: Tenant, api: Api) -> None:
    refused = api.call("DELETE", "/account", {"confirmation": "wrong"})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == "confirmation"
    assert api.call("DELETE", "/account", {"confirmation": "alice's"}).status_code == 204
    assert not ApiKey.unscoped.filter(account_id=alice.account.pk).exists()
