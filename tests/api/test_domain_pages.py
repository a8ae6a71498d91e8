"""Pages that add and change a domain."""

from typing import Any

import pytest

from domains.models import Domain
from servers.services import add_server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

Fields = dict[str, Any]


def posted(hostname: str, origins: list[Fields], servers: list[Any]) -> Fields:
    """Return what a browser sends."""
    fields: Fields = {"hostname": hostname, "certificate": "off"}
    for prefix, rows in (("origins", origins), ("servers", [{"server": server.pk} for server in servers])):
        fields |= {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": len(rows)}
        fields |= {f"{prefix}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}
    return fields


def row(address: str, **changes: Any) -> Fields:
    return {"address": address, "port": 80, "weight": 100, "tls": "off", "enabled": "on", **changes}


def test_domain_is_added_with_the_servers_in_the_order_of_the_rows(alice: Tenant, signed_in: Any) -> None:
    with alice.scope:
        second, _ = add_server(name="second", actor=alice.owner)
    data = posted("*.Shop.example", [row("10.0.0.1"), row("")], [second, alice.server])
    answer = signed_in(alice.owner).post("/domains/add", data)
    assert answer.status_code == 302, answer.content.decode()
    with alice.scope:
        made = Domain.objects.get(hostname="*.shop.example")
        assert [a.server for a in made.assignments.all()] == [second, alice.server]
        assert [o.address for o in made.origins.all()] == ["10.0.0.1"]


def test_another_tenants_server_is_no_choice(alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    data = posted("shop.example", [row("10.0.0.1")], [mallory.server])
    answer = signed_in(alice.owner).post("/domains/add", data)
    assert "not one of the available choices" in answer.content.decode()
    assert "form-select is-invalid" in answer.content.decode()


def test_origin_is_taken_out_of_service_and_back(alice: Tenant, signed_in: Any) -> None:
    client, page = signed_in(alice.owner), f"/domains/{alice.domain.pk}/edit"
    origins = [row("127.0.0.1", port=8080), row("10.0.0.2")]
    for enabled in (False, True):
        origins[1].pop("enabled", None)
        origins[1] |= {"enabled": "on"} if enabled else {}
        assert client.post(page, posted("*", origins, [alice.server])).status_code == 302
        with alice.scope:
            assert [o.enabled for o in Domain.objects.get(hostname="*").origins.all()] == [True, enabled]
        assert client.get(page).content.decode().count('-enabled" class="form-check-input"') == 4
        assert ("not enabled" in client.get(page.removesuffix("/edit")).content.decode()) is not enabled
