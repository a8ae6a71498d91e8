"""The encrypted snapshot: only its own token opens it, unchanged."""

import random
import zlib
from base64 import b64decode
from pathlib import Path

import pytest

from lumos_agent import protocol
from lumos_agent.errors import AgentError
from lumos_agent.store import Store, Stored, running_snapshot

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


def test_control_plane_is_told_what_runs() -> None:
    stored = Stored(epoch="e", revision=3, digest="d" * 64, snapshot=b'{"a":1}' * 1000)
    told = running_snapshot(stored)
    assert (told.epoch, told.revision, told.digest) == ("e", 3, "d" * 64)
    assert zlib.decompress(b64decode(told.content)) == stored.snapshot
    assert len(protocol.encode(told)) < 1024


def test_what_is_too_long_to_be_told_is_left_out() -> None:
    huge = Stored(epoch="e", revision=3, digest="d" * 64, snapshot=random.Random(1).randbytes(1_000_000))
    assert running_snapshot(huge).content == ""
