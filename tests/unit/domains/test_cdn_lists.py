"""The networks that CDNs publish: what is believed, and who hears of a change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec
import pytest
from django.contrib.admin import site

from accounts.models import AuditEntry
from domains import cdn_networks, cdn_refresh
from domains.admin import CdnListAdmin
from domains.cdn_models import CdnList
from domains.cdn_refresh import CdnsInTrouble, ListRefused, checked, refresh_due
from domains.services import change_domain
from domains.tasks import refresh_cdn_lists
from lumos_agent.cdns import cdns
from servers import revisions
from servers.models import Server
from servers.snapshots import snapshot_of
from tests.factories import Tenant
from tests.unit.test_net import local, server

KNOWN = ("20.0.0.0/16", "20.2.0.0/16", "2a00::/32")
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_a_plausible_list_becomes_canonical() -> None:
    texts = ["2a00:0::/32", "20.3.0.0/16", "20.0.0.0/16", "20.2.0.0/16", "20.2.3.0/24", "20.0.0.0/16"]
    assert checked(texts, known=KNOWN, others=["20.4.0.0/16", "2a01::/32"]) == (
        "20.0.0.0/16",
        "20.2.0.0/15",
        "2a00::/32",
    )
    halved = ["20.0.0.0/17", "20.0.128.0/17", "2a00::/33"]
    assert checked(halved, known=KNOWN, others=()) == ("20.0.0.0/16", "2a00::/33"), "half of it may go"


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ([], "has 0 networks"),
        (["20.0.0.0/16"] * 1001, "has 1001 networks"),
        ([*KNOWN, "<html>"], "“<html>” is no network"),
        ([*KNOWN, "20.0.0.1/16"], "is no network"),
        ([*KNOWN, "fe80::1%eth0/128"], "is no"),
        ([*KNOWN, "0.0.0.0/0"], "no network of the public"),
        ([*KNOWN, "10.1.0.0/16"], "no network of the public"),
        ([*KNOWN, "192.160.0.0/11"], "no network of the public"),
        ([*KNOWN, "::ffff:10.0.0.0/104"], "no network of the public"),
        ([*KNOWN, "2001:db8::/32"], "no network of the public"),
        ([*KNOWN, "::/0"], "no network of the public"),
        ([*KNOWN, "64.0.0.0/10"], "wider than any"),
        ([*KNOWN, "2a00:8000::/20"], "wider than any"),
        ([*KNOWN, "64.0.0.0/11", "66.0.0.0/11", "68.0.0.0/11", "70.0.0.0/11"], "together are wider"),
        ([*KNOWN, "2a01:0:1::/48"], "are another CDN's"),
        (["20.0.0.0/17", "20.2.0.0/18", "2a00::/32"], "More than half of the IPv4"),
        (["20.0.0.0/16", "20.2.0.0/16"], "More than half of the IPv6"),
    ],
)
def test_an_implausible_list_is_refused(texts: list[str], why: str) -> None:
    with pytest.raises(ListRefused, match=why):
        checked(texts, known=KNOWN, others=["2a01::/32"])


class Publishers:
    """What the imitation of the publishers answers, by path; a number is a status."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {f"/{name}": list(cdn.networks) for name, cdn in cdns().items()}
        self.asked = 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer in the publisher's format."""
        self.asked += 1
        found = self.answers[handler.path]
        six = [text for text in found if ":" in text] if isinstance(found, list) else []
        body: bytes = "\n".join(found).encode() if isinstance(found, list) else b"<html>"
        if handler.path == "/fastly" and isinstance(found, list):
            four = [text for text in found if ":" not in text]
            body = msgspec.json.encode({"addresses": four, "ipv6_addresses": six, "note": [1]})
        handler.send_response(found if isinstance(found, int) else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def publishers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publishers]:
    """Publishers on loopback in place of the real ones."""
    answers = Publishers()
    with server(answers) as port:
        moved = {
            name: msgspec.structs.replace(cdn, sources=(f"http://lists.example:{port}/{name}",))
            for name, cdn in cdns().items()
        }
        monkeypatch.setattr(cdn_refresh, "cdns", lambda: moved)
        yield answers


def trust(tenant: Tenant, *names: str) -> None:
    with tenant.scope:
        change_domain(domain_id=tenant.domain.pk, actor=tenant.owner, traffic={"trusted_cdns": names})


def revision(tenant: Tenant) -> int:
    return int(Server.unscoped.values_list("revision", flat=True).get(pk=tenant.server.pk))


def sent(tenant: Tenant) -> dict[str, tuple[str, ...]]:
    """Return {CDN: networks} as the tenant's shield hears them."""
    with tenant.scope:
        return {str(one.name): one.networks for one in snapshot_of(tenant.server).cdns or ()}


def refresh(at: datetime) -> dict[str, int]:
    return refresh_due(at, reach=local())


@pytest.mark.django_db
def test_who_uses_a_list_hears_of_its_changes_and_nobody_else(
    alice: Tenant, mallory: Tenant, publishers: Publishers
) -> None:
    trust(alice, "cloudflare")
    assert sent(alice) == {}, "shields have the networks of their own version"
    assert refresh(NOW) == {"changed": 2}
    before, others = revision(alice), revision(mallory)
    assert sent(alice) == {"cloudflare": tuple(sorted(cdns()["cloudflare"].networks))}
    publishers.answers["/cloudflare"].append("20.0.0.0/16")
    assert refresh(NOW + HOUR) == {"changed": 0}, "a list is asked for once a day"
    assert refresh(NOW + DAY) == {"changed": 1}
    assert "20.0.0.0/16" in sent(alice)["cloudflare"]
    assert (revision(alice), revision(mallory), sent(mallory)) == (before + 1, others, {})
    assert ("cloudflare", "Cloudflare (networks as of 2026-12-02)") in cdn_networks.cdn_choices()
    assert refresh(NOW + 2 * DAY) == {"changed": 0}
    assert revision(alice) == before + 1
    with alice.scope:
        entry = AuditEntry.objects.filter(action="cdn.networks_changed").latest("created_at")
        assert (entry.object_label, entry.actor) == ("networks of Cloudflare", None)


@pytest.mark.django_db
def test_what_is_no_list_changes_nothing_and_the_operator_hears_of_it(alice: Tenant, publishers: Publishers) -> None:
    trust(alice, "cloudflare")
    refresh(NOW)
    before, networks = revision(alice), sent(alice)
    publishers.answers["/cloudflare"] = "<html>"
    publishers.answers["/fastly"].append("20.0.0.0/16")
    with pytest.raises(CdnsInTrouble, match="cloudflare: “<html>” is no network"):
        refresh(NOW + DAY)
    assert (revision(alice), sent(alice)) == (before, networks)
    assert "20.0.0.0/16" in cdn_networks.known()["fastly"].networks, "one list does not stop the other"
    publishers.answers["/cloudflare"] = [*cdns()["cloudflare"].networks, "20.1.0.0/16"]
    assert refresh(NOW + DAY + HOUR) == {"changed": 1}, "a list in trouble is asked for every hour"
    assert CdnList.objects.get(name="cloudflare").error == ""


@pytest.mark.django_db
def test_a_publisher_that_is_away_is_trouble_after_a_week(publishers: Publishers) -> None:
    refresh(NOW)
    publishers.answers["/fastly"] = 503
    assert refresh(NOW + 6 * DAY) == {"changed": 0}
    assert CdnList.objects.get(name="fastly").error == "lists.example answered with status 503."
    with pytest.raises(CdnsInTrouble, match="fastly"):
        refresh(NOW + 8 * DAY)


@pytest.mark.django_db
def test_a_run_that_ended_in_between_is_finished(
    alice: Tenant, mallory: Tenant, publishers: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(alice, "cloudflare")
    trust(mallory, "cloudflare", "fastly")
    before = revision(alice), revision(mallory)

    def refuse(servers: Any, **arguments: Any) -> None:
        if alice.server in servers:
            raise RuntimeError("the database went away")
        bump(servers, **arguments)

    bump = revisions.bump
    with monkeypatch.context() as patch:
        patch.setattr(revisions, "bump", refuse)
        with pytest.raises(CdnsInTrouble, match="not every account"):
            refresh(NOW)
    assert (revision(alice), revision(mallory)) == (before[0], before[1] + 2)
    refresh(NOW + HOUR)
    assert revision(alice) == before[0] + 1
    assert not CdnList.objects.filter(is_pushed=False).exists()


@pytest.mark.django_db
def test_the_newer_list_holds_and_nothing_is_fetched_where_that_is_off(settings: Any, publishers: Publishers) -> None:
    row = CdnList.objects.create(name="fastly", networks=["20.0.0.0/16"], as_of="2001-01-01")
    assert cdn_networks.known()["fastly"].networks == cdns()["fastly"].networks
    came = cdns()["fastly"]
    assert CdnListAdmin(CdnList, site).holds(row) == f"{len(came.networks)} networks as of {came.as_of}"
    settings.CDN_REFRESH = False
    assert refresh_cdn_lists() == {}
    assert publishers.asked == 0
