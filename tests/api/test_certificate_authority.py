"""The account's own CA: through API and page, in snapshots, with the key of an external account sealed to each shield."""

import base64
import json
from typing import Any

import pytest

from domains.authorities import CHOICES
from lumos_agent.sealing import SealingKey, seal
from servers.models import Server
from servers.services import add_server
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db
PATH = "/certificate-authority"
OWN = "https://ca.example.com/acme/directory"


def acme_of(tenant: Tenant) -> Any:
    with tenant.scope:
        return snapshot_of(Server.objects.get(pk=tenant.server.pk)).acme


def revision(tenant: Tenant) -> int:
    with tenant.scope:
        return int(Server.objects.get(pk=tenant.server.pk).revision)


def test_shields_order_from_the_chosen_ca_and_from_the_installations_again(
    api: Api, alice: Tenant, mallory: Tenant
) -> None:
    before, theirs = acme_of(alice), acme_of(mallory)
    first = revision(alice)
    answer = api.call("PUT", PATH, {"directory_url": OWN, "email": "ops@example.com"})
    assert answer.status_code == 200, answer.content
    assert (acme_of(alice).directory_url, acme_of(alice).email) == (OWN, "ops@example.com")
    assert (revision(alice), acme_of(mallory)) == (first + 1, theirs)
    api.call("PUT", PATH, {"directory_url": OWN, "email": "ops@example.com"})
    assert revision(alice) == first + 1, "nothing changed"
    api.call("PUT", PATH, {"directory_url": ""})
    assert acme_of(alice) == before
    assert api.get(PATH).json()["directory_url"] == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"directory_url": "http://ca.example.com/dir"}, "directory_url"),
        ({"directory_url": "https://ca.example.com/dir\nx"}, "directory_url"),
        ({"directory_url": OWN, "email": "nobody"}, "email"),
        ({"directory_url": OWN, "external_key_id": "two words", "keys": []}, "external_key_id"),
        ({"directory_url": OWN, "external_key_id": "kid"}, "keys"),
        ({"directory_url": CHOICES["zerossl"].directory_url}, "external_key_id"),
    ],
)
def test_mistakes_are_named(api: Api, alice: Tenant, body: Any, field: str) -> None:
    answer = api.call("PUT", PATH, body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field), answer.content


def test_key_is_for_the_shields_of_the_account_alone(api: Api, alice: Tenant, mallory: Tenant, tmp_path: Any) -> None:
    key = SealingKey(tmp_path / "sealing.pem")
    server = str(alice.server.pk)
    sealed = seal(b"c2VjcmV0", key.public(), server)
    body = {"directory_url": OWN, "external_key_id": "kid-1", "keys": [{"server": server, "sealed_key": sealed}]}
    foreign = {"server": str(mallory.server.pk), "sealed_key": sealed}
    assert api.call("PUT", PATH, {**body, "keys": [foreign]}).status_code == 400
    damaged = {"server": server, "sealed_key": "no base64!"}
    assert api.call("PUT", PATH, {**body, "keys": [damaged]}).status_code == 400
    answer = api.call("PUT", PATH, body)
    assert answer.status_code == 200, answer.content
    assert sealed not in answer.content.decode()
    part = acme_of(alice).external_account
    assert key.open(server, part.sealed_key) == b"c2VjcmV0"
    # Another e-mail address leaves the key; another account at the CA does not.
    assert api.call("PUT", PATH, {**body, "email": "a@example.com", "keys": []}).status_code == 200
    assert acme_of(alice).external_account == part
    assert api.call("PUT", PATH, {**body, "external_key_id": "kid-2", "keys": []}).status_code == 400
    with alice.scope:
        late, _ = add_server(name="late", actor=alice.owner)
        assert snapshot_of(late).acme.external_account.sealed_key == ""  # type: ignore[union-attr]


def test_page_saves_what_it_shows(alice: Tenant, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    answer = client.post("/certificate-authority", {"choice": "other"})
    assert "Enter the directory" in answer.content.decode()
    answer = client.post("/certificate-authority", {"choice": "zerossl"})
    assert "needs an account of yours" in answer.content.decode()
    server = str(alice.server.pk)
    keys = json.dumps({server: base64.b64encode(b"sealed").decode()})
    posted = {"choice": "zerossl", "external_key_id": "kid", "email": "a@example.com", "keys": keys}
    assert client.post("/certificate-authority", posted).status_code == 302
    assert acme_of(alice).external_account.key_id == "kid"
    page = client.get("/certificate-authority").content.decode()
    assert 'value="zerossl" selected' in page
    assert base64.b64encode(b"sealed").decode() not in page
    assert client.post("/certificate-authority", {"choice": "letsencrypt-staging"}).status_code == 302
    assert acme_of(alice).directory_url == CHOICES["letsencrypt-staging"].directory_url
    assert client.post("/certificate-authority", {"choice": ""}).status_code == 302
