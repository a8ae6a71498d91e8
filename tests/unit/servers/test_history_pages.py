"""The pages of a server's history, its preview and the roll-back."""

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import User
from servers import views
from servers.models import Server
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def url(name: str, tenant: Tenant, *more: Any) -> str:
    return reverse(name, args=[tenant.server.pk, *more])


def test_server_page_and_history_show_who_did_what(alice: Tenant, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    for name in ("server", "server-history"):
        text = client.get(url(name, alice)).content.decode()
        assert "list entry added: alice.example (deny 203.0.113.7/32)" in text
        assert "alice@example.com" in text
        assert url("server-preview", alice) in text


def test_history_page_is_constant_in_queries(
    alice: Tenant, api: Api, signed_in: Any, django_assert_num_queries: Any
) -> None:
    client = signed_in(alice.owner)
    for level in ("low", "high", "low", "high"):
        client.get(url("server-history", alice))
        api.patch(f"/policies/{alice.domain.policy.pk}", {"level": level})
        with django_assert_num_queries(11):
            client.get(url("server-history", alice))


def test_history_shows_the_difference_of_any_two(alice: Tenant, api: Api, signed_in: Any) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    client = signed_in(alice.owner)
    text = client.get(url("server-history", alice), {"revision": 3}).content.decode()
    assert "From revision 2 to 3" in text
    assert "policy.mode" in text
    assert "203.0.113.7/32</code></div>" not in text
    text = client.get(url("server-history", alice), {"revision": 3, "against": 1}).content.decode()
    assert "+ <code>203.0.113.7/32</code>" in text
    assert "No difference" in client.get(url("server-history", alice), {"revision": 2, "against": 2}).content.decode()
    assert "the first" in client.get(url("server-history", alice), {"revision": 1}).content.decode()
    for query in ({"revision": 99}, {"revision": "x"}, {"revision": 1, "against": "1e3"}, {"revision": "9" * 30}):
        assert client.get(url("server-history", alice), query).status_code == 404


def test_roll_back_from_the_page(alice: Tenant, api: Api, signed_in: Any) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    client = signed_in(alice.owner)
    page = client.post(url("server-restore", alice, 2), follow=True).content.decode()
    assert "Rolled back to revision 2, as revision 4." in page
    assert api.get(f"/policies/{alice.domain.policy.pk}").json()["mode"] == "block"
    assert "Nothing to do" in client.post(url("server-restore", alice, 2), follow=True).content.decode()
    assert client.post(url("server-restore", alice, 99)).status_code == 404
    assert client.get(url("server-restore", alice, 2)).status_code == 405


def test_refused_roll_back_says_why(alice: Tenant, api: Api, signed_in: Any) -> None:
    api.delete(f"/domains/{alice.domain.pk}")
    origins = [{"address": "127.0.0.1", "port": 8080}]
    api.post("/domains", {"hostname": "alice.example", "origins": origins, "servers": []})
    page = signed_in(alice.owner).post(url("server-restore", alice, 2), follow=True).content.decode()
    assert "Another domain of this account now uses alice.example" in page


def test_viewer_sees_no_roll_back(alice: Tenant, bob: User, api: Api, signed_in: Any) -> None:
    api.patch(f"/policies/{alice.domain.policy.pk}", {"mode": "detect"})
    assert "Roll back" in signed_in(alice.owner).get(url("server-history", alice)).content.decode()
    assert "Roll back" not in signed_in(bob).get(url("server-history", alice)).content.decode()
    with alice.scope:
        assert Server.objects.get().revision == 3


def test_preview_is_cut_where_a_browser_would_suffer(
    alice: Tenant, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(alice.owner)
    text = client.get(url("server-preview", alice)).content.decode()
    assert f"backend d-{alice.domain.pk} from shield" in text
    assert "more lines" not in text
    monkeypatch.setattr(views, "PREVIEW_LINES", 10)
    text = client.get(url("server-preview", alice)).content.decode()
    assert "more lines" in text
    assert "backend d-" not in text


def test_history_has_no_inline_script_or_style(alice: Tenant, signed_in: Any) -> None:
    answer = signed_in(alice.owner).get(url("server-history", alice), {"revision": 2})
    text = answer.content.decode()
    assert "<script>" not in text
    assert " style=" not in text
    assert " onclick=" not in text
    assert "script-src 'self'" in answer["Content-Security-Policy"].split("; ")
