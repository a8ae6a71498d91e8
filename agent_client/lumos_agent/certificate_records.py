"""What is remembered of each domain's certificate, in one file."""

import logging
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent.protocol import CertificateStatus

log = logging.getLogger(__name__)


class Record(Struct, kw_only=True):
    """What is known about one domain's certificate. Times are Unix seconds; `upload` tells which one was uploaded.

    `ordered` has the orders of the last week.
    """

    state: str = "none"
    reason: str = ""
    not_after: float = 0.0
    renew_at: float = 0.0
    asked_ca_at: float = 0.0
    failures: int = 0
    next_at: float = 0.0
    upload: str = ""
    ordered: list[float] = []

    def status(self, domain_id: str) -> CertificateStatus:
        """Return it as the dashboard shows it."""
        state, reason = self.state, self.reason
        return CertificateStatus(domain_id=domain_id, state=state, reason=reason, not_after=self.not_after)  # type: ignore[arg-type]


def load_records(path: Path) -> dict[str, Record]:
    """Return the records by domain id, none if there is no file that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Record])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.error("certificate_status_unreadable", extra={"error": str(error)})
        return {}
