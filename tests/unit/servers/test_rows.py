"""Columns of many rows at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from servers.models import ApplyState, Server, SnapshotRecord
from servers.rows import write
from servers.services import add_server
from tests.factories import Tenant

pytestmark = pytest.mark.django_db


def test_each_row_gets_its_own_values(alice: Tenant, mallory: Tenant) -> None:
    values: list[dict[str, Any]] = [
        {"facts": {"a": ["%s", None, "'ä"]}, "applied_at": None, "apply_state": ApplyState.FAILED, "flood_bans": True,
         "applied_revision": 2**40, "public_ipv4": "192.0.2.1", "errand_id": alice.server.pk},
        {"facts": {}, "applied_at": datetime(2026, 11, 22, 8, 0, 0, 123456, UTC), "apply_state": ApplyState.APPLIED,
         "flood_bans": False, "applied_revision": 0, "public_ipv4": None, "errand_id": None},
    ]  # fmt: skip
    with alice.scope:
        rows = [alice.server, add_server(name="other", actor=alice.owner)[0]]
        bystander, _ = add_server(name="bystander", actor=alice.owner)
        before = Server.objects.filter(pk=bystander.pk).values().get()
        for row, wanted in zip(rows, values, strict=True):
            for name, value in wanted.items():
                setattr(row, name, value)
            row.name = "not asked to be written"
        write(rows, list(values[0]))
        for row, wanted in zip(rows, values, strict=True):
            found = Server.objects.get(pk=row.pk)
            assert {name: getattr(found, name) for name in wanted} == wanted
            assert found.name != row.name
        assert Server.objects.filter(pk=bystander.pk).values().get() == before


def test_bytes_and_nothing_at_all(alice: Tenant) -> None:
    write([], ["content"])
    with alice.scope:
        row = SnapshotRecord.objects.latest("revision")
        row.content = b"\0\xff"
        write([row], ["content"])
        assert bytes(SnapshotRecord.objects.get(pk=row.pk).content) == b"\0\xff"
