"""Uploading a certificate: what is asked for at the door, and what the shields are given."""

from typing import Any

import pytest

from accounts.models import AuditEntry
from lumos_agent.sealing import SealingKey, seal
from servers.models import Server
from servers.snapshots import snapshot_of
from tests.agent.test_uploads import certificate
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(alice: Tenant, tmp_path: Any) -> SealingKey:
    """The key pair of alice's shield, which has connected."""
    made = SealingKey(tmp_path / "k.pem")
    with alice.scope:
        Server.objects.filter(pk=alice.server.pk).update(facts={"sealing_key": made.public()})
    return made


def body(alice: Tenant, key: SealingKey, *names: str, **changes: Any) -> dict[str, Any]:
    chain, private = certificate(*(names or ("alice.example",)), days=changes.pop("days", 30))
    sealed = seal(private, key.public(), str(alice.domain.pk))
    return {"chain": chain, "keys": [{"server": str(alice.server.pk), "sealed_key": sealed}], **changes}


def test_shield_is_given_what_only_it_can_open(api: Api, alice: Tenant, key: SealingKey) -> None:
    path = f"/domains/{alice.domain.pk}"
    (recipient,) = api.get(f"{path}/certificate-recipients").json()
    assert recipient == {"server": str(alice.server.pk), "name": alice.server.name, "sealing_key": key.public()}
    sent = body(alice, key)
    answer = api.post(f"{path}/certificate", sent)
    assert (answer.status_code, answer.json()["certificate"]) == (200, "uploaded")
    with alice.scope:
        (upload,) = snapshot_of(alice.server).uploads
        assert upload.chain == sent["chain"]
        assert b"PRIVATE KEY" in key.open(str(alice.domain.pk), upload.sealed_key)
        entry = AuditEntry.objects.get(action="domain.certificate_uploaded")
        assert "PRIVATE" not in str(entry.changes)
        assert upload.sealed_key not in str(entry.changes)
    api.patch(path, {"certificate": "acme"})
    with alice.scope:
        assert snapshot_of(alice.server).uploads == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chain": ""}, "blank"),
        ({"chain": "hello"}, "PEM form"),
        ({"chain": "-----BEGIN PRIVATE KEY-----"}, "private key"),
        ({"keys": []}, "no sealed key for"),
        ({"names": ["other.example"]}, "is for other.example and not for alice.example"),
        ({"days": -1}, "is valid from"),
        ({"sealed": "not base64!"}, "not base64"),
        ({"server": "00000000-0000-0000-0000-000000000001"}, "no sealed key for"),
    ],
)
def test_what_does_not_fit_is_refused(
    api: Api, alice: Tenant, key: SealingKey, changes: dict[str, Any], words: str
) -> None:
    sent = body(
        alice, key, *changes.pop("names", []), **{k: v for k, v in changes.items() if k in {"chain", "days", "keys"}}
    )
    for name in ("server", "sealed"):
        if name in changes:
            sent["keys"][0]["sealed_key" if name == "sealed" else name] = changes[name]
    answer = api.post(f"/domains/{alice.domain.pk}/certificate", sent)
    assert answer.status_code == 400
    assert words in answer.content.decode()
    with alice.scope:
        assert snapshot_of(alice.server).uploads == ()
        assert snapshot_of(alice.server).domains[0].certificate == "acme"


def test_key_for_a_server_of_somebody_else_is_refused(
    api: Api, alice: Tenant, mallory: Tenant, key: SealingKey
) -> None:
    sent = body(alice, key)
    sent["keys"].append({"server": str(mallory.server.pk), "sealed_key": "AAAA"})
    answer = api.post(f"/domains/{alice.domain.pk}/certificate", sent)
    assert answer.status_code == 400
    assert "is not on server" in answer.content.decode()


def test_wildcard_covers_names_below(api: Api, alice: Tenant, key: SealingKey) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"hostname": "shop.alice.example"})
    sent = body(alice, key, "*.alice.example")
    assert api.post(f"/domains/{alice.domain.pk}/certificate", sent).status_code == 200
