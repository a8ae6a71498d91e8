"""`upgrade`: another version of the agent in its own virtual environment, or the former one again."""

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec

from lumos_agent.doctor import Finding
from lumos_agent.errors import AgentError
from lumos_agent.runner import run
from lumos_agent.system import edge, unit
from lumos_agent.system.host import Host

PIP_SECONDS = 600.0
CHECK_SECONDS = 120.0
SETTLED_LOOKS = 15
_findings = msgspec.json.Decoder(list[Finding])


async def upgrade(wheel: Path, sha256: str, state_dir: Path) -> str:
    """Install `wheel` and return its version. HAProxy is not touched.

    Raises:
        AgentError: the checksum differs (nothing was changed), or the new version does not work (the former is back).
    """
    edge.require_root()
    os.umask(0o022)  # the agent's user must be able to read what is installed
    prefix, host = _environment(), Host("/")
    with tempfile.TemporaryDirectory(prefix="lumos-upgrade-") as folder:
        checked = _checked_copy(wheel, sha256, Path(folder))
        failed_before = await _failed_checks(prefix, state_dir)
        former = await asyncio.to_thread(_keep, prefix)
        try:
            await _install(prefix, checked)
            version = await _working_version(prefix, checked)
            if worse := await _failed_checks(prefix, state_dir) - failed_before:
                raise AgentError(
                    f"with {version} these checks of `lumos-agent doctor` fail: {', '.join(sorted(worse))}"
                )
            await _restart(host, version)
        except BaseException as error:
            await asyncio.to_thread(_step_back, prefix, former)
            await host.tell_systemd("try-restart", unit.NAME)
            raise AgentError(f"{error or 'interrupted'}; the former version is back") from error
    await asyncio.to_thread(shutil.rmtree, former)
    return version


async def _restart(host: Host, version: str) -> None:
    """Restart the service, if it runs, and see that it stays up.

    Raises:
        AgentError: it ended again.
    """
    if not await host.is_active(unit.NAME):
        return
    await host.tell_systemd("restart", unit.NAME)
    for _ in range(SETTLED_LOOKS):
        await asyncio.sleep(1)
        if not await host.is_active(unit.NAME):
            raise AgentError(f"the service does not stay up with {version}: see journalctl -u {unit.NAME}")


def _environment() -> Path:
    if sys.prefix == sys.base_prefix:
        raise AgentError("the agent is not in a virtual environment of its own; upgrade it the way it was installed")
    return Path(sys.prefix)


def _checked_copy(wheel: Path, sha256: str, folder: Path) -> Path:
    """Copy the wheel to where nobody else can change it between the check and the installation."""
    copy = folder / wheel.name
    try:
        shutil.copyfile(wheel, copy)
    except OSError as error:
        raise AgentError(f"cannot read {wheel}: {error.strerror}") from error
    found = hashlib.sha256(copy.read_bytes()).hexdigest()
    if found != sha256.strip().lower():
        raise AgentError(f"the SHA-256 of {wheel} is {found}, not {sha256}; nothing was changed, download it again")
    return copy


def _keep(prefix: Path) -> Path:
    """Copy the environment; the copy that an interrupted upgrade left is the better one."""
    kept, unfinished = prefix.with_name(f"{prefix.name}.former"), prefix.with_name(f"{prefix.name}.copying")
    if not kept.exists():
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(prefix, unfinished, symlinks=True)
        unfinished.rename(kept)
    return kept


def _step_back(prefix: Path, former: Path) -> None:
    refused = prefix.with_name(f"{prefix.name}.refused")
    shutil.rmtree(refused, ignore_errors=True)
    prefix.rename(refused)
    former.rename(prefix)
    shutil.rmtree(refused, ignore_errors=True)


async def _install(prefix: Path, wheel: Path) -> None:
    """Install with what it depends on, then once more by force: pip skips a version that is there already."""
    pip = (str(prefix / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for words in ((), ("--force-reinstall", "--no-deps")):
        code, output = await run([*pip, *words, str(wheel)], timeout_seconds=PIP_SECONDS)
        if code:
            raise AgentError(f"pip could not install {wheel.name}: {output.strip()[-1000:]}")


async def _working_version(prefix: Path, wheel: Path) -> str:
    wanted = wheel.name.split("-")[1]
    code, output = await run([str(prefix / "bin" / "lumos-agent"), "--version"], timeout_seconds=CHECK_SECONDS)
    if code or output.strip() != wanted:
        raise AgentError(f"`lumos-agent --version` should say {wanted} and says: {output.strip()[-1000:]}")
    return wanted


async def _failed_checks(prefix: Path, state_dir: Path) -> set[str]:
    argv = [str(prefix / "bin" / "lumos-agent"), "--state-dir", str(state_dir), "--json", "doctor"]
    _, output = await run(argv, timeout_seconds=CHECK_SECONDS)
    try:
        return {finding.check for finding in _findings.decode(output) if finding.result == "fail"}
    except msgspec.DecodeError as error:
        raise AgentError(f"`lumos-agent doctor` does not work: {output.strip()[-1000:]}") from error
