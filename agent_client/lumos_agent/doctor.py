"""Checks that tell an operator what is wrong and what to do."""

import asyncio
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from lumos_agent import facts
from lumos_agent.config import State, split_listen
from lumos_agent.connection import CONNECTED
from lumos_agent.counters import parse_info
from lumos_agent.drivers import cli
from lumos_agent.drivers.build import installed_build
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.drivers.knot import Knot
from lumos_agent.errors import AgentError, HaproxyError
from lumos_agent.geo import country_database
from lumos_agent.tunnel_doctor import notes_of, problems

DISK_WARN_PERCENT = 90.0
_GENERATIONS_USUAL = 2


class Finding(Struct, frozen=True):
    """One check's result; `advice` says what to do unless all is well."""

    check: str
    result: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""


async def _haproxy_installed(state: State) -> Finding:
    return Finding("HAProxy installed", "ok", installed_build().version)


async def _enrolled(state: State) -> Finding:
    settings = state.settings()
    state.token()
    mode = state.token_file.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("enrolled", "fail", f"the token's mode is {mode:o}", f"chmod 600 {state.token_file}")
    return Finding("enrolled", "ok", f"server {settings.server_id} at {settings.gateway_url}")


async def _disk(state: State) -> Finding:
    used = facts.disk_percent(state.root)
    free = shutil.disk_usage(state.root).free // 2**20
    if used > DISK_WARN_PERCENT:
        return Finding("disk", "warn", f"{used} % used, {free} MB free", "a full disk stops changes; make room")
    return Finding("disk", "ok", f"{free} MB free")


async def _haproxy_running(state: State) -> Finding:
    info = parse_info(await cli.ask(state.worker_socket, ["show info"]))
    return Finding("HAProxy running", "ok", f"pid {info['Pid']}, {info['Uptime']}, {info['CurrConns']} connections")


async def _workers(state: State) -> Finding:
    settings = state.settings()
    count = await Haproxy(state, settings.http, settings.https).worker_generations()
    if count > _GENERATIONS_USUAL:
        advice = "old workers wait for long connections and end within a minute"
        return Finding("worker generations", "warn", str(count), advice)
    return Finding("worker generations", "ok", str(count))


async def _configuration(state: State) -> Finding:
    settings = state.settings()
    refusal = await Haproxy(state, settings.http, settings.https).check(state.current)
    if refusal:
        return Finding("configuration", "fail", refusal, "`lumos-agent rollback` puts the previous one back")
    return Finding("configuration", "ok", "haproxy -c accepts it")


async def _listening(state: State) -> Finding:
    settings = state.settings()
    closed = [listen for listen in (*settings.http, *settings.https) if not _accepts(listen)]
    if closed:
        return Finding("ports", "fail", f"nobody accepts on {', '.join(closed)}", "start the agent: lumos-agent run")
    return Finding("ports", "ok", ", ".join((*settings.http, *settings.https)))


def _accepts(listen: str) -> bool:
    host, port = split_listen(listen)
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


async def _gateway(state: State) -> Finding:
    parts = urlsplit(state.settings().gateway_url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=5):
            return Finding("gateway reachable", "ok", f"{parts.hostname}:{port}")
    except OSError as error:
        advice = "sites go on; check DNS, firewall and the control plane"
        return Finding("gateway reachable", "warn", f"{parts.hostname}:{port}: {error}", advice)


async def _agent_running(state: State) -> Finding:
    status = read_status(state)
    if status is None:
        return Finding("agent", "warn", "it has never run here", "start it: lumos-agent run")
    if not str(status["connection"]).startswith(CONNECTED):
        return Finding("agent", "warn", str(status["connection"]), "sites go on; changes wait")
    last: Any = status.get("last_apply") or {}
    if last.get("type") == "failed":
        return Finding(
            "agent", "warn", f"the last change was refused: {last['message']}", "correct it in the dashboard"
        )
    return Finding("agent", "ok", f"{status['connection']}, revision {status['revision']}")


async def _places(state: State) -> Finding:
    problem = str((read_status(state) or {}).get("geo") or "")
    if problem:
        return Finding("places", "warn", problem, f"put country.mmdb and asn.mmdb into {state.geo}")
    return Finding("places", "ok", "every list has an effect")


async def _tunnels(state: State) -> Finding:
    notes = notes_of(read_status(state))
    if notes is None:
        return Finding("tunnels", "ok", "none")
    found = await asyncio.to_thread(problems, notes, time.time())
    if found:
        details, advice = zip(*found, strict=True)
        return Finding("tunnels", "warn", "; ".join(details), "; ".join(dict.fromkeys(advice)))
    return Finding("tunnels", "ok", f"{len(notes.tunnels)} connected")


async def haproxy_state(state: State) -> dict[str, Any]:
    """Return whether HAProxy answers, with its version and uptime or with the reason."""
    try:
        info = parse_info(await cli.ask(state.worker_socket, ["show info"]))
    except HaproxyError as error:
        return {"running": False, "error": str(error)}
    return {"running": True, "version": info["Version"], "uptime": info["Uptime"]}


def read_status(state: State) -> dict[str, object] | None:
    """Return what the running (or last) agent noted about itself, or None."""
    try:
        status: dict[str, object] = msgspec.json.decode(state.status_file.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError):
        return None
    return status


async def _zones(state: State) -> Finding:
    knot = Knot(state, state.settings().dns, country_database(state))
    if not knot.has_zones():
        return Finding("zones", "ok", "none")
    if knot.process() is None:
        return Finding(
            "zones",
            "fail",
            f"Knot DNS does not run: {knot.last_words()[-500:]}",
            "install the packages knot and knot-module-geoip; another program may hold port 53 (ss -lup sport = 53)",
        )
    return Finding("zones", "ok", "Knot DNS runs")


CHECKS: tuple[Callable[[State], Awaitable[Finding]], ...] = (
    _haproxy_installed, _enrolled, _disk, _configuration, _haproxy_running, _workers, _listening, _gateway,
    _agent_running, _places, _zones, _tunnels,
)  # fmt: skip


async def diagnose(state: State) -> list[Finding]:
    """Run all checks; one that cannot run has failed."""
    findings = []
    for check in CHECKS:
        name = check.__name__.strip("_").replace("_", " ")
        try:
            findings.append(await check(state))
        except (AgentError, OSError) as error:
            findings.append(Finding(name, "fail", str(error), "start the agent: lumos-agent run"))
    return findings
