"""Providers with an API of their own, through dns-lexicon in a process with a time limit (lexicon_process.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from domains.dns import DnsError, Entry, Plan

CONVERSATION_SECONDS = 60.0
_PROCESS = Path(__file__).with_name("lexicon_process.py")
_KINDS = ("A", "AAAA", "CNAME", "TXT")


class Lexicon:
    """One zone at a provider that dns-lexicon calls `provider`. Changes come one after the other, removals last."""

    def __init__(self, *, provider: str, zone: str, token: str, endpoint: str = "") -> None:
        self._asked = {"provider": provider, "zone": zone, "token": token, "endpoint": endpoint}

    def _results(self, calls: list[tuple[str, str, str, str]], ttl: int = 60) -> list[Any]:
        asked = json.dumps({**self._asked, "ttl": ttl, "calls": calls})
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        try:
            done = subprocess.run(  # noqa: S603 - argv is ours
                [sys.executable, "-I", str(_PROCESS)],
                input=asked, capture_output=True, text=True, timeout=CONVERSATION_SECONDS, env=environment, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise DnsError(f"{self._asked['provider']} did not answer within {CONVERSATION_SECONDS:.0f} s.") from error
        try:
            found = json.loads(done.stdout)
        except ValueError as error:
            raise DnsError(f"{self._asked['provider']}: {done.stderr.strip()[-300:] or 'no answer'}") from error
        if "error" in found:
            raise DnsError(f"{self._asked['provider']}: {found['error']}")
        results: list[Any] = found["results"]
        return results

    def entries(self, name: str) -> set[Entry]:
        """Return the records of a name."""
        results = self._results([("list", kind, name, "") for kind in _KINDS])
        rows = (row for result in results for row in result)
        return {Entry(name, kind, data.strip('"').rstrip(".")) for kind, of, data in rows if of.rstrip(".") == name}

    def change(self, plan: Plan, ttl: int) -> None:
        """Write the mark, then the new addresses, then remove the old ones: the name never answers with nothing."""
        additions = sorted(plan.add, key=lambda entry: entry.kind != "TXT")
        calls = [("create", entry.kind, entry.name, entry.data) for entry in additions]
        calls += [("delete", entry.kind, entry.name, entry.data) for entry in plan.remove]
        if calls:
            self._results(calls, ttl)
