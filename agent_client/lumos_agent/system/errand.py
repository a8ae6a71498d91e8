"""`errand`: what the dashboard asked of root, through the agent (errands.py). Started by lumos-errand.path.

The state directory belongs to the agent's user, who may be somebody else's by now: nothing of it is followed, written
or believed but a kind, a version and a checksum. Where wheels come from is root's own file.
"""

import asyncio
import os
import shutil
import ssl
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from lumos_agent import protocol
from lumos_agent.config import DEFAULT_STATE_DIR, Settings, State, checked_gateway_url, is_private
from lumos_agent.errors import AgentError
from lumos_agent.polling import PollFailed, post
from lumos_agent.system import edge
from lumos_agent.system.host import Host
from lumos_agent.system.uninstall import uninstall
from lumos_agent.system.upgrade import upgrade

FILE_BYTES_MAX = 64 * 1024
WHEEL_BYTES_MAX = 64 * 1024 * 1024
FETCH_SECONDS = 60.0
CHARACTERS = 4000


async def run_errand(root: str) -> AsyncIterator[str]:
    """Do what was left, yield the steps, and tell the gateway how it went.

    Raises:
        AgentError: nothing was left, or it failed; the gateway was told the reason.
    """
    edge.require_root()
    host = Host(root)
    state = State(host.path(DEFAULT_STATE_DIR))
    errand = _taken(state)
    settings = msgspec.json.decode(_own_bytes(state.settings_file), type=Settings)
    token = _own_bytes(state.token_file).decode("ascii", "replace").strip()
    try:
        if errand.kind == "uninstall":
            async for step in uninstall(root, purge=False):
                yield step
        else:
            yield f"install lumos-agent {await _upgrade(host, state, errand)}"
    except (AgentError, OSError) as error:
        await _tell(settings, token, protocol.ErrandDone(id=errand.id, is_done=False, message=str(error)[:CHARACTERS]))
        raise
    if remark := await _tell(settings, token, protocol.ErrandDone(id=errand.id, is_done=True)):
        yield remark
    if errand.kind == "uninstall":
        shutil.rmtree(state.root)
        yield f"delete {state.root}"


async def _tell(settings: Settings, token: str, done: protocol.ErrandDone) -> str:
    """Say how it went; returns why nobody heard it: the dashboard then finds out by itself."""
    url = checked_gateway_url(settings.gateway_url)
    tls = ssl.create_default_context(cafile=settings.ca_file or None) if url.startswith("wss:") else None
    try:
        await asyncio.to_thread(post, url, token, tls, protocol.encode([done]))
    except PollFailed as error:
        return f"not told to the dashboard: {error}"
    return ""


def _taken(state: State) -> protocol.Errand:
    """Take the errand away: one that cannot be read or done is not tried again and again.

    Raises:
        AgentError: it is no errand.
    """
    try:
        content = _own_bytes(state.errand_file)
    finally:
        if state.errand_file.is_dir() and not state.errand_file.is_symlink():
            shutil.rmtree(state.errand_file)
        else:
            state.errand_file.unlink(missing_ok=True)
    try:
        return msgspec.json.decode(content, type=protocol.Errand)
    except msgspec.DecodeError as error:
        raise AgentError(f"{state.errand_file} is no errand: {error}") from error


def _own_bytes(path: Path) -> bytes:
    """Read a file that its directory's owner wrote, and that is not a way to somebody else's.

    Raises:
        AgentError: it is missing, or something else.
    """
    try:
        with open(path, "rb", opener=_without_links) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_uid != path.parent.stat().st_uid:
                raise AgentError(f"{path} is not a file of who owns {path.parent}")
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise AgentError(f"cannot read {path}: {error.strerror}") from error


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


async def _upgrade(host: Host, state: State, errand: protocol.Errand) -> str:
    dashboard = host.path(edge.DASHBOARD)
    try:
        url = dashboard.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise AgentError(f"{dashboard} does not say where wheels are: run the install line again") from error
    with tempfile.TemporaryDirectory(prefix="lumos-wheel-") as folder:
        wheel = Path(folder) / f"lumos_agent-{errand.version}-py3-none-any.whl"
        await asyncio.to_thread(_fetch, f"{url}/install/{wheel.name}", wheel)
        return await upgrade(wheel, errand.sha256, state.root)


def _fetch(url: str, target: Path) -> None:
    if not url.startswith(("https://", "http://")) or not is_private(url):
        raise AgentError(f"{url} is not safe to install from; the dashboard needs https://")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - checked above
            target.write_bytes(answer.read(WHEEL_BYTES_MAX))
    except (urllib.error.URLError, OSError) as error:
        raise AgentError(f"cannot fetch {url}: {error}") from error
