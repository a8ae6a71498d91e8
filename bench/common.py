"""What the benchmarks share: a stack of their own, an API client, percentiles, the report."""

import argparse
import http.client
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.stack import HOSTNAME, Stack


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with --json. From now on SIGTERM ends the program by way of what it has to stop."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    made = argparse.ArgumentParser(description=text)
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


@contextmanager
def running_stack(profile: str = "embedded") -> Iterator[Stack]:
    """Start Lumos in a temporary folder and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lb-"))
    folder.chmod(0o755)
    stack = Stack(folder, profile=profile)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


VISIT_PAUSE_SECONDS = 0.002  # between the visits that wait for a change, which are not to be a load


def visit(port: int) -> tuple[int, bytes]:
    """Return what a new visitor of the demo's site gets: status and body; (0, b"") if nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": HOSTNAME, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (TimeoutError, OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Api:
    """A keep-alive connection to the API."""

    def __init__(self, stack: Stack) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", stack.ports["web"], timeout=120)
        self._headers = {"Authorization": f"Bearer {stack.secrets['api_key']}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call /api/v1`path`; returns the decoded answer.

        Raises:
            RuntimeError: the API refused.
        """
        self._connection.request(
            method, f"/api/v1{path}", json.dumps(body) if body is not None else None, self._headers
        )
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text) if text else None

    def await_applied(self, server: str, seconds: float = 120.0) -> dict[str, Any]:
        """Return the server when the shield serves its newest revision."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            row: dict[str, Any] = self.call("GET", f"/servers/{server}")
            if row["applied_revision"] == row["revision"] and row["apply_state"] == "applied":
                return row
            time.sleep(0.05)
        raise RuntimeError(f"not applied within {seconds:.0f} s: {row['apply_state']} {row['apply_report']}")


def add_domains(stack: Stack, count: int) -> None:
    """Add `count` domains to the demo server, as imports do, and wait until they are served.

    1,000 at a time: SQLite lets nobody else write meanwhile.
    """
    program = f"""
from accounts.models import Account, User
from accounts.tenancy import tenant_scope
from domains.config_import import import_config
from domains.models import Domain
from lumos_agent.document import ConfigDocument, ConfigDomain, ConfigOrigin
from servers.models import Server
with tenant_scope(Account.objects.get().pk):
    origins, servers = (ConfigOrigin(address="127.0.0.1", port={stack.ports["origin"]}),), (Server.objects.get().name,)
    present = Domain.objects.count()
    domains = [
        ConfigDomain(hostname=f"d{{number}}.bench.example", origins=origins, servers=servers)
        for number in range(present, present + {count})
    ]
    for first in range(0, {count}, 1_000):
        document = ConfigDocument(version=1, domains=tuple(domains[first : first + 1_000]))
        import_config(document=document, prune=False, actor=User.objects.get())
"""
    stack.manage("shell", "-v", "0", "-c", program)
    Api(stack).await_applied(stack.secrets["server"])


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of the threads of a process, with the scheduler's precision (proc(5), schedstat)."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0-1) of the values lie."""
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is not between 0 and 1")
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def report(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print a table, or with --json the last row as one object (all rows under "runs" where there are several)."""
    if as_json:
        print(json.dumps(rows[-1] | ({"runs": rows} if len(rows) > 1 else {})))
        return
    names = list(rows[0])
    print("  ".join(f"{name:>18}" for name in names))
    for row in rows:
        print("  ".join(f"{'-' if row[name] is None else row[name]:>18}" for name in names))


__all__ = [
    "HOSTNAME",
    "VISIT_PAUSE_SECONDS",
    "Api",
    "add_domains",
    "cpu_seconds",
    "parser",
    "percentile",
    "report",
    "running_stack",
]
