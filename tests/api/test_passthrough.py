"""TLS passthrough through the API: what it contradicts, and that it survives export, import and roll-back."""

import pytest

from lumos_agent.schema import Snapshot
from servers.history import content
from servers.models import SnapshotRecord
from servers.restore import restore_snapshot
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
THROUGH = {"passthrough": {"connections_max": 5, "connections_per_minute": 60}}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"traffic": THROUGH | {"cache": True}}, "traffic.cache"),
        ({"traffic": THROUGH | {"websockets": False}}, "traffic.websockets"),
        ({"traffic": THROUGH | {"routes": [{"path": "/", "origins": [{"address": "10.0.0.1", "port": 80}]}]}}, "traffic.routes"),
        ({"traffic": THROUGH | {"only_trusted_proxies": True}}, "traffic.only_trusted_proxies"),
        ({"traffic": THROUGH, "origins": [{"address": "10.0.0.1", "port": 443, "tls": "verify"}]}, "origins[0].tls"),
    ],
)  # fmt: skip
def test_contradiction_is_refused_by_its_place(api: Api, alice: Tenant, more: object, field: str) -> None:
    answer = api.patch(f"/domains/{alice.domain.pk}", more)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert api.get(f"/domains/{alice.domain.pk}").json()["traffic"]["passthrough"] is None


def test_what_asks_for_requests_is_refused_later_too(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    assert api.patch(path, {"traffic": THROUGH | {"balance": "source", "health": {"path": "/up"}}}).status_code == 200
    for more in (
        {"traffic": {"compression": True}},
        {"origins": [{"address": "10.0.0.1", "port": 443, "tls": "verify"}]},
    ):
        assert api.patch(path, more).status_code == 400
    assert api.post(f"{path}/apply-preset", {"preset": "static"}).status_code == 400
    assert api.patch(path, {"traffic": {"passthrough": None, "compression": True}}).status_code == 200


def test_it_is_exported_imported_and_rolled_back(api: Api, alice: Tenant) -> None:
    path = f"/domains/{alice.domain.pk}"
    api.patch(path, {"traffic": THROUGH})
    exported = api.get("/config").json()
    assert exported["domains"][0]["traffic"] == THROUGH
    api.patch(path, {"traffic": {"passthrough": None}})
    done = api.call("PUT", "/config", exported)
    assert done.status_code == 200, done.content
    assert api.get("/config").json() == exported
    with alice.scope:
        records = list(SnapshotRecord.objects.order_by("revision"))
        before = next(r for r in records if _passthrough(content(r)) is None)
        restore_snapshot(record=before, actor=alice.owner)
    assert api.get(path).json()["traffic"]["passthrough"] is None


def _passthrough(snapshot: Snapshot) -> object:
    return snapshot.domains[0].traffic.passthrough if snapshot.domains else object()
