"""`errand` on a directory that stands for a machine: what root does for the dashboard, and whom it does not trust."""

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lumos_agent.config import DEFAULT_STATE_DIR, Settings, State
from lumos_agent.errands import Errands
from lumos_agent.protocol import Errand
from lumos_agent.system import edge
from tests.agent.builders import ident
from tests.agent.test_edge_setup import agent, photograph
from tests.agent.test_edge_setup import pytestmark as pytestmark
from tests.agent.test_edge_setup import root as root

ERRAND = Errand(id=ident(9), kind="uninstall")


class Gateway(http.server.ThreadingHTTPServer):
    """Keeps what is posted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.told: list[tuple[str, str, object]] = []


class Door(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Gateway)
        self.server.told.append((self.path, self.headers["Authorization"], body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def enrolled(root: Path, gateway: Gateway) -> State:
    agent("edge-setup", "--root", root, "--dashboard", "http://127.0.0.1:1")
    state = State(root / DEFAULT_STATE_DIR.lstrip("/"))
    state.create()
    state.save_settings(Settings(gateway_url=f"ws://127.0.0.1:{gateway.server_port}/agent/v1"))
    state.token_file.write_text("lmst_test")
    hand_over(state)
    return state


def leave(state: State, errand: Errand) -> None:
    Errands(state).received(errand)
    hand_over(state)


def hand_over(state: State) -> None:
    """Give every file to the agent's user."""
    owner = state.root.stat()
    for path in state.root.rglob("*"):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def test_uninstall_gives_the_machine_back_and_says_so(root: Path, gateway: Gateway) -> None:
    before = photograph(root)
    state = enrolled(root, gateway)
    leave(state, ERRAND)
    assert "take back" in agent("errand", "--root", root)
    done = {"type": "errand_done", "id": ident(9), "is_done": True, "message": ""}
    assert gateway.told == [("/agent/v1/poll", "Bearer lmst_test", [done])]
    assert photograph(root) == before


def test_a_failure_is_told_and_not_tried_again(root: Path, gateway: Gateway) -> None:
    state = enrolled(root, gateway)
    leave(state, Errand(id=ident(8), kind="upgrade", version="9.9", sha256="0" * 64))
    assert "cannot fetch http://127.0.0.1:1/install/lumos_agent-9.9-py3-none-any.whl" in agent(
        "errand", "--root", root, expected=1
    )
    [(_, _, [told])] = gateway.told  # type: ignore[misc]
    assert (told["is_done"], "cannot fetch" in told["message"]) == (False, True)  # type: ignore[has-type]
    assert not state.errand_file.exists()
    assert state.token_file.exists()


def test_nothing_is_read_by_way_of_a_link(root: Path, gateway: Gateway) -> None:
    state = enrolled(root, gateway)
    leave(state, ERRAND)
    state.token_file.unlink()
    state.token_file.symlink_to(root / "etc/shadow")
    assert "cannot read" in agent("errand", "--root", root, expected=1)
    assert gateway.told == []
    (root / "etc/errand").write_bytes(msgspec.json.encode(ERRAND))
    state.errand_file.symlink_to(root / "etc/errand")
    assert "cannot read" in agent("errand", "--root", root, expected=1)
    assert (root / "etc/errand").exists()


def test_a_folder_in_its_place_is_taken_away_too(root: Path, gateway: Gateway) -> None:
    state = enrolled(root, gateway)
    (state.errand_file / "deep").mkdir(parents=True)
    assert "Is a directory" in agent("errand", "--root", root, expected=1)
    assert not state.errand_file.exists()


@pytest.mark.parametrize(
    "url", ["http://localhost.evil.example", "http://127.0.0.1@evil.example", "file:///etc", "ftp://localhost"]
)
def test_wheels_come_over_tls_or_from_this_machine(root: Path, gateway: Gateway, url: str) -> None:
    state = enrolled(root, gateway)
    (root / edge.DASHBOARD.lstrip("/")).write_text(url)
    leave(state, Errand(id=ident(8), kind="upgrade", version="9.9", sha256="0" * 64))
    assert "is not safe to install from" in agent("errand", "--root", root, expected=1)
