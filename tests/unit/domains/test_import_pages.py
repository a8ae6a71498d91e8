"""The page that exports, imports and adds in bulk."""

import html
import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from accounts.models import Membership, User
from servers.models import Server
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db

SITE = {"hostname": "new.example", "origins": [{"address": "10.0.0.1", "port": 80}], "servers": ["<b>"]}
DOCUMENT = {
    "version": 1,
    "servers": [{"name": "<b>"}],
    "domains": [SITE, {"hostname": "alice.example", "certificate": "off"}],
}


def url(name: str = "domain-import") -> str:
    return reverse(name)


def hidden(page: str) -> dict[str, str]:
    """Return what the confirmation of a plan sends."""
    found = re.findall(r'<input type="hidden" name="(text|confirm|prune)" value="([^"]*)"', page)
    return {name: html.unescape(value) for name, value in found}


def test_upload_shows_the_plan_and_confirming_does_it(alice: Tenant, api: Api, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    assert reverse("api-config") in client.get(url()).content.decode()
    upload = SimpleUploadedFile("c.json", json.dumps(DOCUMENT).encode())
    page = client.post(url(), {"file": upload}).content.decode()
    assert "2 created, 1 changed" in page
    assert "server &lt;b&gt;" in page
    assert "<b>" not in page
    assert api.get("/domains?hostname=new.example").json()["results"] == []
    done = client.post(url(), hidden(page), follow=True).content.decode()
    assert "Imported: 2 created, 1 changed." in done
    assert "Rotate the token" in done
    assert len(api.get("/domains?hostname=new.example").json()["results"]) == 1
    again = client.post(url(), {"text": json.dumps(DOCUMENT)}).content.decode()
    assert "nothing to do" in again
    assert hidden(again) == {}


def test_plan_that_is_another_one_by_now_is_shown_anew(alice: Tenant, api: Api, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    page = client.post(url(), {"text": json.dumps(DOCUMENT)}).content.decode()
    api.patch(f"/domains/{alice.domain.pk}", {"certificate": "off"})
    new = client.post(url(), hidden(page)).content.decode()
    assert "has changed since this plan was made" in new
    assert "2 created<" in new
    assert hidden(new)["confirm"] != hidden(page)["confirm"]
    assert client.post(url(), hidden(new)).status_code == 302


def test_prune_is_asked_for_and_needs_an_admin(alice: Tenant, api: Api, signed_in: Any) -> None:
    client, data = signed_in(alice.owner), {"text": '{"version": 1, "domains": []}', "prune": "on"}
    page = client.post(url(), data).content.decode()
    assert "1 deleted" in page
    assert hidden(page)["prune"] == "on"
    Membership.objects.filter(user=alice.owner).update(role="member")
    assert client.post(url(), data).status_code == 403
    assert 'name="prune"' not in client.get(url()).content.decode()
    Membership.objects.filter(user=alice.owner).update(role="owner")
    client.post(url(), hidden(page))
    assert api.get("/domains").json()["results"] == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "Choose a file"),
        ("{", "no JSON document"),
        ('{"version": 1, "domains": [{"hostname": "no"}]}', "domains[0].hostname: "),
        ('{"version": 1, "domains": [{"hostname": "a.example"}]}', "domains[0].origins: "),
    ],
)
def test_mistake_is_shown_with_its_place(alice: Tenant, signed_in: Any, text: str, hint: str) -> None:
    page = signed_in(alice.owner).post(url(), {"text": text}).content.decode()
    assert hint in html.unescape(page)
    assert 'id="plan"' not in page


def test_bulk_is_planned_confirmed_and_one_revision(alice: Tenant, api: Api, signed_in: Any) -> None:
    client = signed_in(alice.owner)
    lines = "\n".join(f"d{number}.example 10.0.0.{number}:8080" for number in range(1, 21))
    page = client.post(url("domain-bulk"), {"lines": lines, "servers": [alice.server.pk]}).content.decode()
    assert "20 created" in page
    assert client.post(url(), hidden(page)).status_code == 302
    found = api.get("/domains?hostname=d7.example").json()["results"][0]
    assert (found["origins"][0]["address"], found["servers"]) == ("10.0.0.7", [str(alice.server.pk)])
    with alice.scope:
        assert Server.objects.get().revision == alice.server.revision + 1


def test_bulk_says_which_lines_are_wrong_and_adds_nothing(
    alice: Tenant, mallory: Tenant, api: Api, signed_in: Any
) -> None:
    client = signed_in(alice.owner)
    lines = "ok.example 10.0.0.1\n<script>x\nalice.example 10.0.0.1"
    page = client.post(url("domain-bulk"), {"lines": lines}).content.decode()
    assert "<td>2</td>" in page
    assert "<td>3</td>" in page
    assert "<script>x" not in page
    assert hidden(page) == {}
    foreign = client.post(url("domain-bulk"), {"lines": "ok.example 10.0.0.1", "servers": [mallory.server.pk]})
    assert "invalid-feedback" in foreign.content.decode()
    assert client.post(url("domain-bulk"), {"lines": ""}).status_code == 200
    assert len(api.get("/domains").json()["results"]) == 1


def test_viewer_may_download_only_and_nothing_is_inline(alice: Tenant, bob: User, signed_in: Any) -> None:
    page = signed_in(bob).get(url()).content.decode()
    assert reverse("api-config") in page
    assert "<form class=" not in page
    assert signed_in(bob).get(reverse("api-config")).status_code == 200
    own = signed_in(alice.owner).post(url(), {"text": json.dumps(DOCUMENT)}).content.decode()
    for part in ("<script>", " style=", " onclick="):
        assert part not in own
