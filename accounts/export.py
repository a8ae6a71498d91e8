"""Everything of an account as one ZIP archive, made while it is sent."""

import csv
import io
import json
import uuid
import zipfile
from collections.abc import Iterable, Iterator

from accounts.audit_views import entry_lines
from accounts.models import Account, ApiKey, AuditEntry
from accounts.selectors import members
from accounts.tenancy import tenant_scope
from domains import config_document
from domains.config_export import account_state
from waf.models import Event
from waf.selectors import event_lines


class _Pipe(io.RawIOBase):
    """Takes what zipfile writes; `drained` hands it on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def drained(self) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        return found


def archive(account: Account) -> Iterator[bytes]:
    """Yield the archive: configuration, members, API keys (without keys), audit log, events of the last 30 days."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as target:
        for name, texts in _files(account).items():
            with target.open(name, "w", force_zip64=True) as file:
                for text in texts:
                    file.write(text.encode())
                    yield pipe.drained()
    yield pipe.drained()


def _files(account: Account) -> dict[str, Iterable[str]]:
    with tenant_scope(account.pk):
        return {
            "account.json": [json.dumps({"name": account.name, "created_at": account.created_at.isoformat()})],
            "configuration.json": _configuration(account.pk),
            "members.csv": _members(account),
            "api-keys.csv": _api_keys(account.pk),
            "audit.csv": entry_lines(AuditEntry.objects.select_related("actor"), account.pk),
            "events.csv": event_lines(Event.objects.all(), account.pk),
        }


def _configuration(account_id: uuid.UUID) -> Iterator[str]:
    with tenant_scope(account_id):
        text = config_document.encoded(account_state().document()).decode()
    yield text


def _members(account: Account) -> Iterator[str]:
    rows = [(row.user.email, row.user.name, row.role, row.created_at.isoformat()) for row in members(account)]
    yield _csv([("email", "name", "role", "since"), *rows])


def _api_keys(account_id: uuid.UUID) -> Iterator[str]:
    with tenant_scope(account_id):
        rows = [(key.name, key.prefix, key.scope, key.created_at.isoformat()) for key in ApiKey.objects.all()]
    yield _csv([("name", "prefix", "scope", "created_at"), *rows])


def _csv(rows: Iterable[Iterable[str]]) -> str:
    target = io.StringIO()
    csv.writer(target).writerows(rows)
    return target.getvalue()
