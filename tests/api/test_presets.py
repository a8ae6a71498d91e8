"""Presets: what they set is valid, and what they do not name stays."""

from typing import Any

import pytest

from domains import traffic
from domains.presets import PRESETS
from tests.conftest import Api
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", list(PRESETS))
def test_preset_sets_what_it_says_and_nothing_else(api: Api, alice: Tenant, name: str) -> None:
    path = f"/domains/{alice.domain.pk}"
    api.patch(path, {"traffic": {"origin_host": "inner.example"}})
    answer = api.post(f"{path}/apply-preset", {"preset": name})
    assert answer.status_code == 200
    shown: dict[str, Any] = answer.json()["traffic"]
    assert shown["origin_host"] == "inner.example"
    set_alone = traffic.shown(traffic.parsed(traffic.merged({}, PRESETS[name].traffic)))
    assert {key: shown[key] for key in PRESETS[name].traffic} == {key: set_alone[key] for key in PRESETS[name].traffic}


def test_unknown_preset_is_refused(api: Api, alice: Tenant) -> None:
    answer = api.post(f"/domains/{alice.domain.pk}/apply-preset", {"preset": "joomla"})
    assert answer.status_code == 400


def test_page_applies_one(alice: Tenant, signed_in: Any) -> None:
    client, path = signed_in(alice.owner), f"/domains/{alice.domain.pk}/traffic"
    assert "WordPress" in client.get(path).content.decode()
    answer = client.post(f"{path}/preset", {"preset": "static"}, follow=True)
    assert "has the settings of the preset" in answer.content.decode()
    assert "Choose one of" in client.post(f"{path}/preset", {"preset": "x"}, follow=True).content.decode()
