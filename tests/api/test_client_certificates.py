"""CAs of visitors' certificates through the API: what is refused, and what a refusal says."""

from pathlib import Path

import pytest

from tests.authority import Authority
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def refusal(api: Api, tenant: Tenant, ca: str, **more: object) -> str:
    """Return what the API objects to."""
    answer = api.patch(f"/domains/{tenant.domain.pk}", {"traffic": {"client_certificates": {"ca": ca}}, **more})
    assert answer.status_code == 400, answer.content
    return str(answer.json())


def test_only_cas_that_are_valid_now_are_taken(api: Api, alice: Tenant, tmp_path: Path) -> None:
    ca = Authority(tmp_path, "staff CA")
    leaf = ca.issue("anna").read_text()
    certificate = leaf[leaf.index("-----BEGIN CERTIFICATE") :]
    assert "This holds a private key" in refusal(api, alice, leaf)
    assert "“CN=anna” is no CA" in refusal(api, alice, ca.pem + certificate)
    assert "“CN=old” is valid from" in refusal(api, alice, Authority(tmp_path, "old", days=-1).pem)
    assert "PEM form" in refusal(api, alice, "hello")
    assert "PEM form" in refusal(api, alice, "")
    assert "at most 20" in refusal(api, alice, ca.pem * 21)
    assert "at most 65536" in refusal(api, alice, "x" * 70_000)
    assert "choose a certificate" in refusal(api, alice, ca.pem, certificate="off")
    assert "catch-all" in refusal(api, alice, ca.pem, hostname="*")
    assert (
        api.patch(f"/domains/{alice.domain.pk}", {"traffic": {"client_certificates": {"ca": ca.pem}}}).status_code
        == 200
    )
    answer = api.patch(f"/domains/{alice.domain.pk}", {"certificate": "off"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "traffic.client_certificates"
