"""The log's way from the pipe: events and hits once by position, fresh lines once for who looks for attacks."""

import os
from pathlib import Path

import pytest

from lumos_agent import eventlog
from lumos_agent.config import Settings, State
from lumos_agent.eventlog import EventLog, Position, parse_hits
from lumos_agent.geo import Locator
from tests.agent.builders import ident

EVENT = f"answer 7 1 d-x 403 1 2 block r1 1800.5 {ident(1)} 192.0.2.7 6 c3FsaQ== eA== R0VU YQ== Lw== cQ== YWdlbnQ= cQ=="
PLAIN = "answer 7 1 d-x 200 1 2 - r2 7300.5 -"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{PLAIN} hits:{ident(1)}=3,{ident(2)}=1", {(ident(1), 7200): 3, (ident(2), 7200): 1}),
        (f"{EVENT} hits:{ident(1)}=3", {(ident(1), 0): 3}),
        (f"{PLAIN} -", {}),
        (EVENT, {}),
        (f"{PLAIN} hits:nonsense!", {}),
    ],
)
def test_hits_of_a_line(line: str, expected: dict[tuple[str, int], int]) -> None:
    assert parse_hits(line.encode() + b"\n") == expected


def test_lines_are_read_once_by_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(tmp_path)
    state.create()
    state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1"))
    os.mkfifo(state.fifo)
    pipe = os.open(state.fifo, os.O_RDWR | os.O_NONBLOCK)
    log = EventLog(state.events, state.fifo, Locator(state))

    def logged(*lines: str) -> None:
        os.write(pipe, "".join(f"{line}\n" for line in lines).encode())
        log.drain()

    logged(EVENT, f"{EVENT} hits:{ident(3)}=2", f"{PLAIN} hits:{ident(3)}=1", f"{EVENT} -")
    assert log.fresh().count(b"\n") == 4
    assert log.fresh() == b""
    first = log.read(Position(), 3)
    assert ([event.place for event in first.events], first.hits) == (["q"] * 3, {(ident(3), 0): 2, (ident(3), 7200): 1})
    assert log.read(first.position, 3).events == []
    monkeypatch.setattr(eventlog, "FILE_BYTES", 200)
    logged(f"{PLAIN} hits:{ident(3)}=5")
    again = log.read(first.position, 3)
    assert (again.events, again.hits) == ([], {(ident(3), 7200): 5})
    later = EventLog(state.events, state.fifo, Locator(state))
    assert later.fresh() == b""
    assert log.fresh().count(b"\n") == 1
    monkeypatch.setattr(eventlog, "TOTAL_BYTES_MAX", 10)
    logged(EVENT, EVENT)
    assert (log.dropped, log.fresh().count(b"\n")) == (2, 2)
    os.close(pipe)


def test_failure_of_the_engine_is_found(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.create()
    state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1"))
    log = EventLog(state.events, state.fifo, Locator(state))
    (state.events / "000000001.log").write_text(f"{EVENT}\nlumos failed: waf.lua:832: nil\n{PLAIN}\n")
    log.read(Position(), 10)
    assert log.failure == "waf.lua:832: nil"
