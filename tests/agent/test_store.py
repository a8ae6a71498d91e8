"""The encrypted snapshot: only its own token opens it, unchanged."""

from pathlib import Path

import pytest

from lumos_agent.errors import AgentError
from lumos_agent.store import Store, Stored

STORED = Stored(epoch="e", revision=3, digest="d", snapshot=b"secret-origin")


def test_round_trip_without_the_content_in_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "s", "token")
    assert store.load() is None
    store.save(STORED)
    assert store.load() == STORED
    assert b"secret-origin" not in (tmp_path / "s").read_bytes()
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_rotated_token_is_refused_with_words(tmp_path: Path) -> None:
    Store(tmp_path / "s", "old").save(STORED)
    with pytest.raises(AgentError, match="cannot be decrypted"):
        Store(tmp_path / "s", "new").load()


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    Store(path, "token").save(STORED)
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(AgentError):
            Store(path, "token").load()
    for length in (0, 10, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(AgentError):
            Store(path, "token").load()


def test_two_writes_share_no_nonce(tmp_path: Path) -> None:
    store = Store(tmp_path / "s", "token")
    store.save(STORED)
    first = (tmp_path / "s").read_bytes()
    store.save(STORED)
    assert first[8:36] != (tmp_path / "s").read_bytes()[8:36]
