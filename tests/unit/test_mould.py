"""What comes from a mould is what the services make."""

from typing import Any

import pytest
from django.apps import apps
from django.db import models, transaction

from servers.models import SnapshotRecord
from servers.snapshots import compile_snapshot
from tests import factories
from tests.factories import Tenant


def _rows() -> dict[str, list[Any]]:
    """Return what each row says in numbers and choices that are not drawn anew each time."""
    found = {}
    for model in apps.get_models(include_auto_created=True):
        kinds = models.BooleanField, models.IntegerField, models.CharField
        names = [f.name for f in model._meta.concrete_fields if isinstance(f, kinds) and not f.primary_key]
        rows: models.QuerySet[Any, Any] = models.QuerySet(model).values_list(*names)
        found[model.__name__] = sorted(str([v for v in row if _is_lasting(str(v))]) for row in rows)
    return found


def _is_lasting(text: str) -> bool:
    return len(text) < 20 and not text.startswith(("lmst_", "lmsk_"))


@pytest.mark.django_db
def test_a_cast_tenant_is_a_made_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for moulds in (factories.MOULDS, {}):
        monkeypatch.setattr(factories, "MOULDS", moulds)
        with transaction.atomic():
            factories.tenant("alice", "alice.example")
            found.append(_rows())
            transaction.set_rollback(True)
    assert found[0] == found[1]
    assert found[0]["Domain"]


@pytest.mark.django_db
def test_what_was_cast_fits_together(alice: Tenant) -> None:
    with alice.scope:
        record = SnapshotRecord.objects.get(revision=alice.server.revision)
        compiled = compile_snapshot(alice.server.pk)
        assert compiled is not None
        assert record.digest == compiled.digest
        assert record.created_at > alice.server.created_at
        assert alice.domain.servers.get() == alice.server
