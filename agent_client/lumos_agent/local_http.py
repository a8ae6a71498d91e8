"""What the agent tells programs on the same machine: GET /metrics (Prometheus), /health and /stats (JSON)."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from lumos_agent import __version__, facts
from lumos_agent.config import State, split_listen
from lumos_agent.connection import CONNECTED
from lumos_agent.doctor import haproxy_state
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
REQUEST_BYTES_MAX = 8192
JSON = "application/json"

Answer = tuple[HTTPStatus, str, bytes]


class LocalHttp:
    """A server for one request per connection, on loopback only."""

    def __init__(self, listen: str, state: State, haproxy: Haproxy, status: Callable[[], dict[str, Any]]) -> None:
        self._listen = listen
        self._state = state
        self._haproxy = haproxy
        self._status = status

    async def run(self) -> None:
        """Serve until cancelled; a port that is taken costs only this service."""
        if not self._listen:
            return
        host, port = split_listen(self._listen)
        try:
            server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_BYTES_MAX)
        except (OSError, OverflowError) as error:
            log.error("local_http_off", extra={"listen": self._listen, "error": str(error)})
            return
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
            writer.write(_response(words[0], await self._answer(words)))
            await writer.drain()
        writer.close()

    async def _answer(self, words: list[str]) -> Answer:
        if len(words) != 3:
            return _json(HTTPStatus.BAD_REQUEST, {"error": "this is not an HTTP request"})
        method, target, _ = words
        pages = {"/metrics": self._metrics, "/health": self._health, "/stats": self._stats}
        page = pages.get(target.partition("?")[0])
        if page is None:
            return _json(HTTPStatus.NOT_FOUND, {"error": f"there are {', '.join(pages)}"})
        if method not in {"GET", "HEAD"}:
            return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET is served"})
        return await page()

    async def _health(self) -> Answer:
        haproxy = await haproxy_state(self._state)
        if haproxy["running"]:
            return _json(HTTPStatus.OK, {"healthy": True})
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"healthy": False, "reason": haproxy["error"]})

    async def _stats(self) -> Answer:
        return _json(HTTPStatus.OK, {**self._status(), "haproxy": await haproxy_state(self._state)})

    async def _metrics(self) -> Answer:
        is_running = (await haproxy_state(self._state))["running"]
        generations = 0
        with contextlib.suppress(HaproxyError):
            generations = await self._haproxy.worker_generations() if is_running else 0
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self._status(), is_running, generations))
        return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)


class _Collector(Collector):
    """One reading of the agent as Prometheus' metric families."""

    def __init__(self, status: dict[str, Any], is_running: bool, generations: int) -> None:
        self._status = status
        self._is_running = is_running
        self._generations = generations

    def collect(self) -> Iterator[Metric]:
        """Yield the families; what has not happened yet is left out."""
        status = self._status
        yield InfoMetricFamily("lumos_agent", "The agent.", {"version": __version__})
        yield _gauge("lumos_haproxy_running", "Whether HAProxy answers.", self._is_running)
        yield _gauge("lumos_haproxy_worker_generations", "Workers that are alive.", self._generations)
        yield _gauge("lumos_revision", "Revision that is served.", status["revision"])
        yield _gauge("lumos_waiting_batches", "Batches not acknowledged.", status["waiting_batches"])
        yield _gauge(
            "lumos_connected", "Whether the gateway is connected.", str(status["connection"]).startswith(CONNECTED)
        )
        yield _gauge("lumos_agent_resident_memory_bytes", "Memory of the agent.", facts.own_memory_bytes())
        if last := status["last_apply"]:
            yield _gauge("lumos_last_apply_success", "Whether it was applied.", last["type"] == "applied")
            yield _gauge("lumos_last_apply_timestamp_seconds", "When it was tried.", status["last_apply_at"])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _json(status: HTTPStatus, content: dict[str, Any]) -> Answer:
    return status, JSON, json.dumps(content).encode() + b"\n"


def _response(method: str, answer: Answer) -> bytes:
    status, kind, body = answer
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)
