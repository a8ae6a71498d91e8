"""The customer's own Lua through API and page: into snapshots, tried, refused, and what shields say about it."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from lumos_agent.schema import Script
from servers.snapshots import snapshot_of
from tests.conftest import Api
from tests.factories import Tenant
from waf.models import Event

pytestmark = pytest.mark.django_db
SOURCE = 'if ngx.var.arg_a == "1" then\n  ngx.exit(403)\nend\n'
REQUEST = "GET /?a=1 HTTP/1.1\r\nHost: a.example\r\n\r\n"


def path(tenant: Tenant) -> str:
    return f"/domains/{tenant.domain.pk}/script"


def test_script_reaches_the_snapshot(api: Api, alice: Tenant) -> None:
    assert api.get(path(alice)).json() == {"mode": "off", "fails": "open", "source": "", "troubles": []}
    answer = api.patch(path(alice), {"mode": "on", "source": SOURCE.replace("\n", "\r\n")})
    assert answer.status_code == 200, answer.content
    assert api.patch(path(alice), {"fails": "closed"}).json()["source"] == SOURCE
    with alice.scope:
        assert snapshot_of(alice.server).domains[0].script == Script(mode="on", fails="closed", source=SOURCE)
    revision = api.get(f"/servers/{alice.server.pk}").json()["revision"]
    api.patch(path(alice), {"fails": "closed"})
    assert api.get(f"/servers/{alice.server.pk}").json()["revision"] == revision


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("if x then", "line 1: expected “end”"),
        ("\nlocal a = 'b", "line 2: this string is not finished"),
        ("local __t = 1", "reserved"),
        ("goto nowhere", "nowhere"),
        ("x" * 70_000, "65536"),
        ("a\1b", "control characters"),
        ("local a <const> = 1", "line 1"),
    ],
)
def test_what_is_no_script_is_refused_with_its_line(api: Api, alice: Tenant, source: str, words: str) -> None:
    answer = api.patch(path(alice), {"source": source})
    assert answer.status_code == 400, answer.content
    assert words in answer.content.decode()
    assert api.get(path(alice)).json()["source"] == ""


def test_try_a_script_before_it_is_stored(api: Api, alice: Tenant) -> None:
    found = api.post(path(alice) + "/try", {"source": SOURCE, "request": REQUEST}).json()
    assert (found["decision"], found["status"], found["failure"]) == ("answer", 403, "")
    source = "ngx.header.x = ngx.var.geoip_country_code ngx.log(ngx.WARN, ngx.var.remote_addr) local a = nil + 1"
    body = {"source": source, "request": REQUEST, "country": "DE", "client": "2001:db8::1"}
    found = api.post(path(alice) + "/try", body).json()
    assert found["failure"] == "script:1: attempt to perform arithmetic on a nil value"
    assert (found["headers"], found["logs"]) == (["x: DE"], ["[warn] 2001:db8::1"])
    assert api.post(path(alice) + "/try", {"request": REQUEST}).json()["decision"] == "pass"
    assert api.post(path(alice) + "/try", {"request": " ", "source": "x("}).status_code == 400


def test_page_saves_tries_and_tells_failures(alice: Tenant, signed_in: Any) -> None:
    client: Client = signed_in(alice.owner)
    url = reverse("waf-script", args=[alice.domain.pk])
    form = {"mode": "on", "fails": "open", "source": SOURCE, "request": REQUEST}
    tried = client.post(url, {**form, "try": "1"}).content.decode()
    assert "answers 403" in tried
    assert "line 1" in client.post(url, {**form, "source": "x("}).content.decode()
    assert client.post(url, form).status_code == 302
    with alice.scope:
        Event(
            server=alice.server, domain=alice.domain, time=alice.domain.created_at, request_id="r", client="192.0.2.1",
            method="GET", host="h", path="/", action="detect", rules=["script-error"], matched="script:2: boom",
        ).save()  # fmt: skip
    page = client.get(url).content.decode()
    assert "script:2: boom" in page
    assert "ngx.exit(403)" in page
