"""`edge-setup`: prepare a machine for the agent, step by step, and take it back exactly.

The journal belongs to root, outside the state directory: whoever may write it decides what root restores.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import msgspec

from lumos_agent.config import DEFAULT_STATE_DIR, write_atomically
from lumos_agent.errors import AgentError
from lumos_agent.system import unit
from lumos_agent.system.actions import (
    AnyAction,
    CreateUser,
    DisableService,
    InstallUnit,
    LinkCommand,
    OwnDirectory,
    SetKernel,
    WriteFile,
)
from lumos_agent.system.host import USER, Host

JOURNAL = "/etc/lumos/edge-setup.json"
DASHBOARD = "/etc/lumos/dashboard"
UNIT_FILE = f"/etc/systemd/system/{unit.NAME}"
_SYSCTL = "90-lumos.conf"
_journal = msgspec.json.Decoder(list[AnyAction])


def plan(root: str, prefix: Path, dashboard: str = "") -> list[AnyAction]:
    """Return the changes for an agent in the virtual environment `prefix`, in their order.

    `dashboard` is the address that later wheels come from; without it upgrades are made by hand.

    Raises:
        AgentError: on this very machine, the service could not read `prefix`.
    """
    if Path(root) == Path("/"):
        unit.require_visible(prefix)
    sysctl = (resources.files(__package__) / _SYSCTL).read_text(encoding="utf-8")
    return [
        CreateUser(root=root, target=USER, home=DEFAULT_STATE_DIR),
        OwnDirectory(root=root, target=DEFAULT_STATE_DIR, owner=USER),
        *(WriteFile(root=root, target=DASHBOARD, content=f"{url}\n") for url in [dashboard] if url),
        *(
            InstallUnit(root=root, target=f"/etc/systemd/system/{name}", content=unit.text(prefix, name))
            for name in unit.ALL
        ),
        LinkCommand(root=root, target="/usr/local/bin/lumos-agent", to=f"{prefix}/bin/lumos-agent"),
        DisableService(root=root, target="haproxy.service"),
        DisableService(root=root, target="knot.service"),
        WriteFile(root=root, target=f"/etc/sysctl.d/{_SYSCTL}", content=sysctl),
        SetKernel(root=root, values=_values(sysctl)),
    ]


def _values(sysctl: str) -> dict[str, str]:
    lines = (line for line in sysctl.splitlines() if line and not line.startswith("#"))
    pairs = (line.split("=", 1) for line in lines)
    return {key.strip(): value.strip() for key, value in pairs}


def done(root: str) -> list[AnyAction]:
    """Return what the journal says was done, in order.

    Raises:
        AgentError: the journal is damaged.
    """
    path = Host(root).path(JOURNAL)
    try:
        return _journal.decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise AgentError(f"cannot read {path}: {error}; nothing was changed") from error


async def set_up(root: str, prefix: Path, dashboard: str = "") -> AsyncIterator[tuple[AnyAction, str]]:
    """Make every change and yield it with its remark. What was there before the first time stays remembered.

    Raises:
        AgentError: one failed; running it again, or taking it back, goes on from there.
    """
    require_root()
    journal = {action.target: action for action in done(root)}
    for action in plan(root, prefix, dashboard):
        await action.remember()
        if (earlier := journal.get(action.target)) is not None:
            action.recall(earlier)
        journal[action.target] = action
        _save(root, list(journal.values()))
        try:
            remark = await action.do()
        except (AgentError, OSError) as error:
            raise AgentError(
                f"could not {action.describe()}: {error}; mend that and run edge-setup again, or edge-setup --undo"
            ) from error
        yield action, remark


async def take_back(root: str) -> AsyncIterator[AnyAction]:
    """Undo what the journal says, last change first, and yield each.

    Raises:
        AgentError: the agent's service runs, or one step failed; the rest stays in the journal.
    """
    require_root()
    journal = done(root)
    if journal and await Host(root).is_active(unit.NAME):
        raise AgentError(f"{unit.NAME} runs; `lumos-agent uninstall` stops it and takes everything back")
    while journal:
        action = journal[-1]
        try:
            await action.undo()
        except (AgentError, OSError) as error:
            raise AgentError(f"could not take back: {action.describe()}: {error}; mend that and try again") from error
        journal.pop()
        _save(root, journal)
        yield action


def require_root() -> None:
    """Refuse ordinary users.

    Raises:
        AgentError: this is one.
    """
    if os.geteuid() != 0:
        raise AgentError("this changes the system and needs root; run it with sudo")


def _save(root: str, journal: list[AnyAction]) -> None:
    path = Host(root).path(JOURNAL)
    if journal:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(journal)))
        return
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
