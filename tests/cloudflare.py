"""An imitation of Cloudflare's DNS API (v4), as far as its documentation says how zones and records are answered."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "cf-test-token"


class Cloudflare(ThreadingHTTPServer):
    """One account with one zone; `records` are {id: record}, `calls` the methods that changed something."""

    def __init__(self, zone: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.zone, self.zone_id = zone, uuid.uuid4().hex
        self.records: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.fails_with = 0

    @property
    def url(self) -> str:
        """Return what stands for https://api.cloudflare.com/client/v4."""
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, kind: str, name: str, content: str, ttl: int = 300) -> dict[str, Any]:
        """Keep a record as Cloudflare shows it."""
        shown = f'"{content}"' if kind == "TXT" and not content.startswith('"') else content
        row: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "type": kind,
            "name": name,
            "content": shown,
            "ttl": ttl,
            "proxied": False,
        }
        self.records[row["id"]] = row
        return row

    def shown(self) -> set[tuple[str, str, str]]:
        """Return (type, name, content) of all records."""
        return {(row["type"], row["name"], row["content"]) for row in self.records.values()}


class _Handler(BaseHTTPRequestHandler):
    server: Cloudflare

    def _answer(self, status: int, result: Any, code: int = 0, words: str = "") -> None:
        body: dict[str, Any] = {"success": status < 400, "errors": [], "messages": [], "result": result}
        if status >= 400:
            body["errors"] = [{"code": code, "message": words}]
        if isinstance(result, list):
            body["result_info"] = {"page": 1, "per_page": 100, "count": len(result), "total_pages": 1}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        given = json.loads(self.rfile.read(length) or b"{}")
        parts = urlsplit(self.path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(403, None, 9109, "Invalid access token")
        if self.server.fails_with:
            return self._answer(self.server.fails_with, None, 10000, "Something went wrong")
        if parts.path == "/zones":
            return self._answer(200, [{"id": self.server.zone_id, "name": self.server.zone}])
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._records(parts.path.removeprefix(f"/zones/{self.server.zone_id}/dns_records").strip("/"), asked, given)
        return None

    def _records(self, record_id: str, asked: dict[str, str], given: dict[str, Any]) -> None:
        rows = self.server.records
        if self.command == "GET":
            found = [r for r in rows.values() if r["type"] == asked["type"] and r["name"] == asked["name"]]
            wanted = asked.get("content")
            self._answer(200, [r for r in found if wanted in (None, r["content"], r["content"].strip('"'))])
        elif self.command == "POST":
            self.server.calls.append(f"create {given['type']} {given['content']}")
            self._answer(200, self.server.put(given["type"], given["name"], given["content"], given.get("ttl", 1)))
        else:
            row = rows.pop(record_id)
            self.server.calls.append(f"delete {row['type']} {row['content']}")
            self._answer(200, {"id": record_id})

    do_GET = do_POST = do_DELETE = _do  # noqa: N815 - names of the library

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def cloudflare(zone: str) -> Iterator[Cloudflare]:
    """Serve the imitation on loopback."""
    server = Cloudflare(zone)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
