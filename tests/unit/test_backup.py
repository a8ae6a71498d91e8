"""Backup and restore on the database of the run, and what a damaged file does."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from domains.models import Domain
from servers.models import Epoch, epoch
from tests.factories import Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration]


def hostnames() -> list[str]:
    return list(Domain.unscoped.order_by("hostname").values_list("hostname", flat=True))


def test_older_backup_comes_back_with_an_epoch_of_its_own(alice: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    call_command("backup", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    before = epoch()
    with alice.scope:
        alice.domain.delete()
    assert hostnames() == []
    with pytest.raises(CommandError, match="--yes"):
        call_command("restore", str(file))
    call_command("restore", str(file), "--yes")
    assert hostnames() == ["alice.example"]
    assert epoch() != before
    assert Epoch.objects.filter(value=before).exists()


@pytest.mark.parametrize("content", [b"", b"PGDMP and no more", b"SQLite format 3\0 and no more"])
def test_damaged_file_changes_nothing(alice: Tenant, tmp_path: Path, content: bytes) -> None:
    file, before = tmp_path / "backup", epoch()
    file.write_bytes(content)
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("restore", str(file), "--yes")
    with pytest.raises(CommandError, match="is no file"):
        call_command("restore", str(tmp_path / "none"), "--yes")
    assert (hostnames(), epoch()) == (["alice.example"], before)


def test_folder_that_cannot_be_written(alice: Tenant, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("backup", str(tmp_path / "none" / "backup"))
