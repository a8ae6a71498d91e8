"""What a VPS fetches: the script and the wheel."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from servers.install import WHEEL
from tests.conftest import Api
from tests.factories import Tenant

CONTENT = b"a wheel"


@pytest.fixture
def dist(settings: Any, tmp_path: Path) -> Path:
    """A directory with a built wheel."""
    settings.WHEEL_DIR = str(tmp_path)
    (tmp_path / WHEEL).write_bytes(CONTENT)
    return tmp_path


def test_the_script_is_shell_and_names_dashboard_gateway_and_checksum(dist: Path, settings: Any) -> None:
    settings.PUBLIC_URL = "https://lumos.example"
    settings.GATEWAY_URL = "wss://lumos.example/agent/v1"
    answer = Client().get("/install")
    assert (answer.status_code, answer["content-type"]) == (200, "text/plain; charset=utf-8")
    lines = answer.content.decode().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "dashboard=https://lumos.example" in lines
    assert "gateway=wss://lumos.example/agent/v1" in lines
    assert f"wheel={WHEEL}" in lines
    assert f"sha256={hashlib.sha256(CONTENT).hexdigest()}" in lines
    subprocess.run(["sh", "-n"], input=answer.content, check=True)


def test_nothing_from_the_settings_is_run_as_shell(dist: Path, settings: Any) -> None:
    settings.PUBLIC_URL = "https://x/$(touch pwned)';id;'&<"
    text = Client().get("/install").content.decode()
    (line,) = (line for line in text.splitlines() if line.startswith("dashboard="))
    said = subprocess.run(["sh", "-c", f'{line}; printf %s "$dashboard"'], capture_output=True, text=True, check=True)
    assert said.stdout == settings.PUBLIC_URL


def test_the_wheel_is_served_by_its_exact_name_only(dist: Path) -> None:
    (dist / "other.whl").write_bytes(b"private")
    assert Client().get(f"/install/{WHEEL}").content == CONTENT
    for name in ("other.whl", "..%2Fmanage.py", "lumos_agent-9.9.9-py3-none-any.whl"):
        assert Client().get(f"/install/{name}").status_code == 404
    assert Client().post("/install").status_code == 405


@pytest.mark.parametrize("path", ["/install", f"/install/{WHEEL}"])
def test_without_a_wheel_it_is_503_and_says_what_to_do(path: str, settings: Any, tmp_path: Path) -> None:
    settings.WHEEL_DIR = str(tmp_path)
    answer = Client().get(path)
    assert (answer.status_code, answer["content-type"]) == (503, "text/plain; charset=utf-8")
    assert "make wheel" in answer.content.decode()


@pytest.mark.django_db
def test_page_and_api_show_the_line_with_the_token(
    alice: Tenant, api: Api, signed_in: Callable[[User], Client], settings: Any
) -> None:
    made = api.post("/servers", {"name": "by-api"}).json()
    assert made["install"] == f"curl -fsSL {settings.PUBLIC_URL}/install | LUMOS_TOKEN={made['token']} sh"
    page = signed_in(alice.owner).post(reverse("server-add"), {"name": "by-page"}).content.decode()
    assert f"curl -fsSL {settings.PUBLIC_URL}/install | LUMOS_TOKEN=lmst_" in page
