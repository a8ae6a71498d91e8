"""The page of traffic settings: what it shows, it saves again unchanged; mistakes are named by their line."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from accounts.models import User
from domains.models import Domain
from domains.traffic_form import TrafficForm
from lumos_agent.traffic import Traffic
from servers.models import Server
from tests.authority import Authority
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

CA = Authority(Path(), "staff CA").pem

EVERYTHING: dict[str, Any] = {
    "balance": "leastconn",
    "health": {"path": "/up?x=1", "status": "200-204,301", "interval_seconds": 3, "rise": 4, "fall": 5},
    "sticky_cookie": "SRV",
    "timeouts": {"connect_seconds": 7, "server_seconds": 70, "tunnel_seconds": 700},
    "headers": [
        {"on": "request", "action": "set", "name": "X-One", "value": 'a  b: "c"'},
        {"on": "response", "action": "add", "name": "X-Two", "value": "x"},
        {"on": "response", "action": "remove", "name": "Server"},
        {"on": "request", "action": "remove", "name": "X-Odd", "value": "unused"},
    ],
    "routes": [
        {"path": "/api", "origins": [
            {"address": "10.0.0.5", "port": 8080, "weight": 10},
            {"address": "2001:db8::7", "port": 443, "tls": "verify", "backup": True, "weight": 0},
            {"address": "origin.example.com", "port": 8443, "tls": "on"},
        ]},
        {"path": "/static/", "origins": [{"address": "127.0.0.1", "port": 80}]},
    ],
    "redirects": [
        {"path": "/old", "to": "https://new.example/?a=b#c", "status": 301},
        {"path": "/blog", "to": "/news", "exact": False},
    ],
    "https_redirect": True,
    "hsts": {"seconds": 300, "preload": True},
    "body_bytes_max": 1_000_001,
    "websockets": False,
    "compression": True,
    "cache": True,
    "cache_purges": 3,
    "proxy_protocol": "v2",
    "origin_http2": True,
    "origin_host": "shop.example.com",
    "origin_sni": "tls.example.com",
    "trusted_proxies": ["10.0.0.0/8", "2001:db8::/32"],
    "trusted_cdns": ["cloudflare"],
    "only_trusted_proxies": True,
    "client_certificates": {"mode": "optional", "ca": CA},
    "maintenance": True,
    "maintenance_allow": ["192.0.2.9/32"],
    "pages": {"denied": "\n <b>\r\n{request_id}</b>\n", "too_many": "a\nb\rc", "bad_gateway": " ", "unavailable": "ü<&>", "maintenance": "m"},
}  # fmt: skip


class Fields(HTMLParser):
    """What a browser would send of a page's fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        name, keys = found.get("name", ""), dict(attrs)
        if tag == "input" and name and (found.get("type") != "checkbox" or "checked" in keys):
            self.values[name] = found.get("value", "on" if found.get("type") == "checkbox" else "")
        elif tag in {"select", "textarea"}:
            self._open = name
            if "multiple" not in keys:
                self.values[name] = ""
        elif tag == "option" and "selected" in keys:
            self.values[self._open] = found["value"]

    def handle_data(self, data: str) -> None:
        if self.lasttag == "textarea" and self._open:
            lines = data.removeprefix("\n").replace("\r\n", "\n").replace("\r", "\n")
            self.values[self._open] += lines.replace("\n", "\r\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._open = ""


class Page:
    """The page of one domain in a browser."""

    def __init__(self, client: Client, tenant: Tenant) -> None:
        self._client = client
        self._tenant = tenant
        self.url = f"/domains/{tenant.domain.pk}/traffic"

    def fields(self) -> dict[str, str]:
        answer = self._client.get(self.url)
        assert answer.status_code == 200
        return Fields(answer.content.decode()).values

    def save(self, **changes: str) -> Any:
        return self.send(self.fields() | changes)

    def send(self, fields: dict[str, str]) -> Any:
        return self._client.post(self.url, fields)

    def stored(self) -> dict[str, Any]:
        with self._tenant.scope:
            traffic: dict[str, Any] = Domain.objects.get().traffic
            return traffic

    def revision(self) -> int:
        with self._tenant.scope:
            revision: int = Server.objects.get().revision
            return revision


@pytest.fixture
def page(alice: Tenant, signed_in: Any) -> Page:
    return Page(signed_in(alice.owner), alice)


def test_everything_the_api_can_set_survives_the_form(api: Api, alice: Tenant, page: Page) -> None:
    assert EVERYTHING.keys() | {"passthrough"} == set(Traffic.__struct_fields__)
    answer = api.patch(f"/domains/{alice.domain.pk}", {"traffic": EVERYTHING})
    assert answer.status_code == 200, answer.content
    assert page.stored() == EVERYTHING
    revision = page.revision()
    answer = page.save()
    assert answer.status_code == 302, answer.content.decode()
    assert page.stored() == EVERYTHING
    assert page.revision() == revision


def test_every_setting_is_changed_by_the_form(page: Page) -> None:
    posted = {
        "balance": "leastconn", "sticky_cookie": "SRV", "health": "on", "health_path": "/up?x=1",
        "health_status": "200-204,301", "health_interval_seconds": "3", "health_rise": "4", "health_fall": "5",
        "timeouts_connect_seconds": "7", "timeouts_server_seconds": "70", "timeouts_tunnel_seconds": "700",
        "https_redirect": "on", "hsts": "preload", "body_mib_max": "1.5", "websockets": "", "compression": "on",
        "cache": "on", "proxy_protocol": "v2", "origin_http2": "on", "origin_host": "Shop.example.com",
        "origin_sni": "tls.example.com", "trusted_proxies": "2001:db8::1/32\r\n\r\n10.1.2.3/8", "only_trusted_proxies": "on", "trusted_cdns": "cloudflare",
        "routes": " /api http://10.0.0.5:8080 weight=10 HTTPS://[2001:DB8::7] weight=0 backup https+insecure://Origin.example.com:8443/\r\n"
        "/static/ http://localhost",
        "redirects": "/old https://new.example/?a=b#c 301\r\n/blog /news prefix",
        "headers": 'Request  SET X-One:a  b: "c"\r\nresponse add X-Two: x\r\n\r\nresponse remove Server\r\nrequest remove X-Odd: unused',
        "client_certificates": "optional", "client_certificates_ca": "The CA of our staff:\r\n" + CA.replace("\n", "\r\n"),
        "maintenance": "on", "maintenance_allow": "192.0.2.9", "pages_denied": "<b>\r\n{request_id}</b>",
        "pages_too_many": "t", "pages_bad_gateway": "g", "pages_unavailable": "ü<&>", "pages_maintenance": "m",
    }  # fmt: skip
    answer = page.save(**posted)
    assert answer.status_code == 302, answer.content.decode()
    expected = EVERYTHING | {
        "hsts": {"subdomains": True, "preload": True},
        "body_bytes_max": 1_572_864,
        "pages": {"denied": "<b>\n{request_id}</b>", "too_many": "t", "bad_gateway": "g", "unavailable": "ü<&>", "maintenance": "m"},
    }  # fmt: skip
    del expected["cache_purges"]
    assert page.stored() == expected


def test_passthrough_by_the_form_names_what_it_contradicts(api: Api, alice: Tenant, page: Page) -> None:
    posted = {"passthrough": "on", "passthrough_connections_max": "20", "passthrough_connections_per_minute": "0"}
    answer = page.save(**posted, compression="on")
    assert "passthrough hides them" in answer.content.decode()
    answer = page.save(**posted, proxy_protocol="v2")
    assert answer.status_code == 302, answer.content.decode()
    wanted = {"passthrough": {"connections_max": 20}, "proxy_protocol": "v2"}
    assert page.stored() == wanted
    assert page.save().status_code == 302
    assert page.stored() == wanted
    shown = api.get(f"/domains/{alice.domain.pk}").json()
    assert shown["inactive"] == ["certificate", "policy", "guard"]
    fields = page.fields()
    del fields["passthrough"]
    assert page.send(fields).status_code == 302
    assert page.stored() == {"proxy_protocol": "v2"}
    assert api.get(f"/domains/{alice.domain.pk}").json()["inactive"] == []


def test_form_names_every_setting(page: Page) -> None:
    form = TrafficForm(QueryDict(mutable=True) | page.fields(), Traffic())
    assert form.is_valid(), form.errors
    assert form.settings().keys() | {"cache_purges"} == set(Traffic.__struct_fields__)
    shown = [field.name for _, _, fields in form.cards() for field in fields]
    assert sorted(shown) == sorted(form.fields)


def test_settings_that_nobody_changed_push_nothing(page: Page) -> None:
    before = page.revision()
    assert page.save(health_interval_seconds="", health_path="").status_code == 302
    assert (page.stored(), page.revision()) == ({}, before)


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("headers", "\r\nrequest set X-A: 1\r\nsets X-B: 2", "Line 3: Write “request set X-Name: value”"),
        ("headers", "request", "Line 1: Write “request"),
        ("headers", "request set X-A: 1\r\n\r\nrequest set X Y: 1", "Line 3: A header name has letters"),
        ("headers", "request set X-A: ü", "Line 1: A header value is one line"),
        ("headers", "request set X-A", "Line 1: X-A has no value"),
        ("headers", "\r\nresponse remove Connection", "Line 2: Connection belongs to the connection"),
        ("headers", "response remove A\r\n" * 51, "length"),
        ("redirects", "/old", "Line 1: Write a path, where it leads"),
        ("redirects", "prefix", "Line 1: Write a path"),
        ("redirects", "/a /b 301 x", "Line 1: Write a path"),
        ("redirects", "/a /b 303", "Line 1: “303” is no status"),
        ("redirects", "/a /b\r\n\r\n/a javascript:alert(1)", "Line 3: Enter a path that begins with /"),
        ("routes", "/api", "Line 1: Write a path and at least one URL"),
        ("routes", "/api 10.0.0.5", "Line 1: “10.0.0.5” is no URL"),
        ("routes", "/api http://10.0.0.5/x", "Line 1: “http://10.0.0.5/x” is no URL"),
        ("routes", "/api http://u@10.0.0.5", "Line 1: “http://u@10.0.0.5” is no URL"),
        ("routes", "/api http://10.0.0.5 wait=3", "Line 1: “wait=3” is neither"),
        ("routes", "/api http://10.0.0.5 weight=257", "Line 1: “257” is no weight"),
        ("routes", "/api http://10.0.0.5 weight=x", "Line 1: “x” is no weight"),
        ("routes", "/api http://10.0.0.5:0", "Line 1: “0” is no port"),
        ("routes", "/api http://10.0.0.5:99999999999", "is no port"),
        ("routes", "/a http://10.0.0.5\r\n\r\n/b http://10.0.0.5 http://169.254.169.254", "Line 3: 169.254.169.254 cannot be an origin"),
        ("routes", "api http://10.0.0.5", "Line 1: A path begins with /"),
        ("routes", "/a " + "http://10.0.0.5 " * 17, "Line 1: Expected “array” of length"),
        ("trusted_proxies", "10.0.0.0/8\r\n\r\n10.0.0.0/33", "Line 3: “10.0.0.0/33” is no address"),
        ("maintenance_allow", "me", "Line 1: “me” is no address"),
        ("origin_host", "a b", "“a b” is not a hostname"),
        ("origin_sni", "1.2.3.4", "is an address"),
        ("sticky_cookie", "a b", "A header or cookie has letters"),
        ("pages_denied", "x" * 8193, "length"),
        ("pages_maintenance", "\x01", "no control characters"),
        ("body_mib_max", "-1", "greater than or equal to 0"),
        ("timeouts_tunnel_seconds", "86401", "less than or equal to 86400"),
        ("balance", "fair", "not one of the available choices"),
    ],
)  # fmt: skip
def test_mistake_is_shown_at_its_field_and_line(page: Page, field: str, text: str, message: str) -> None:
    before = page.revision()
    answer = page.save(**{field: text})
    assert answer.status_code == 200
    form = answer.context["form"]
    assert list(form.errors) == [field]
    assert message in form.errors[field][0]
    assert (page.stored(), page.revision()) == ({}, before)


def test_all_broken_lines_are_named_at_once(page: Page) -> None:
    form = page.save(redirects="/a\r\n/b /c\r\n/d", headers="x").context["form"]
    assert [error.partition(":")[0] for error in form.errors["redirects"]] == ["Line 1", "Line 3"]
    assert list(form.errors) == ["redirects", "headers"]


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [("health_status", "404-200", "smaller one"), ("health_status", "2xx", "status codes"), ("health_path", "up", "with /")],
)  # fmt: skip
def test_mistake_in_the_check_is_shown_while_it_is_on(page: Page, field: str, text: str, message: str) -> None:
    form = page.save(health="on", **{field: text}).context["form"]
    assert list(form.errors) == [field]
    assert message in form.errors[field][0]
    assert page.save(**{field: text}).status_code == 302


@pytest.mark.parametrize("size", [1, 10, 1_000_000, 2**20, 2**40 - 1, 2**40])
def test_size_survives_as_mib(api: Api, alice: Tenant, page: Page, size: int) -> None:
    api.patch(f"/domains/{alice.domain.pk}", {"traffic": {"body_bytes_max": size}})
    assert page.save().status_code == 302
    assert page.stored() == {"body_bytes_max": size}
    assert page.save(body_mib_max="").status_code == 302
    assert page.stored() == {}


def test_purge_counts_and_pushes(alice: Tenant, page: Page, signed_in: Any) -> None:
    before = page.revision()
    for count in (1, 2):
        answer = signed_in(alice.owner).post(f"{page.url}/purge")
        assert (answer.status_code, answer.url) == (302, page.url)
        assert page.stored() == {"cache_purges": count}
    assert page.revision() == before + 2


def test_page_obeys_a_strict_policy(page: Page, alice: Tenant, signed_in: Any) -> None:
    text = signed_in(alice.owner).get(page.url).content.decode()
    assert "style=" not in text
    assert "<script>" not in text
    assert " onclick" not in text
    assert page.url in signed_in(alice.owner).get(f"/domains/{alice.domain.pk}").content.decode()


def test_viewer_is_refused(alice: Tenant, bob: User, signed_in: Any) -> None:
    viewer, url = signed_in(bob), f"/domains/{alice.domain.pk}/traffic"
    for answer in (viewer.get(url), viewer.post(url, {"cache": "on"}), viewer.post(f"{url}/purge")):
        assert answer.status_code == 403
    assert url not in viewer.get(f"/domains/{alice.domain.pk}").content.decode()
    with alice.scope:
        assert Domain.objects.get().traffic == {}
