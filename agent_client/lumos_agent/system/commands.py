"""The commands that change the machine: `edge-setup`, `uninstall`, `errand`, `upgrade`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from lumos_agent.config import DEFAULT_STATE_DIR, State
from lumos_agent.errors import AgentError
from lumos_agent.system import edge
from lumos_agent.system.errand import run_errand
from lumos_agent.system.uninstall import uninstall
from lumos_agent.system.upgrade import upgrade

AddCommand = Callable[..., argparse.ArgumentParser]


def add_to(add: AddCommand) -> None:
    """Add the commands to the parser."""
    command = add("edge-setup", _edge_setup, "prepare this machine: user, service, kernel settings")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    command.add_argument("--undo", action="store_true", help="bring back what was there before")
    command.add_argument("--dashboard", default="", metavar="URL", help="where upgrades come from")
    _add_root(command)
    command = add("uninstall", _uninstall, "end the agent and HAProxy, and take edge-setup back")
    command.add_argument("--purge", action="store_true", help="delete the state as well: token, last configuration")
    command.add_argument("--yes", action="store_true", help="do not ask")
    _add_root(command)
    _add_root(add("errand", _errand, "do what the dashboard asked of root (its own service calls this)"))
    command = add("upgrade", _upgrade, "install another version; the former comes back if it does not work")
    command.add_argument("--wheel", required=True, type=Path, help="lumos_agent-….whl")
    command.add_argument("--sha256", required=True, metavar="HEX", help="its SHA-256")
    command.set_defaults(keeps_root=True)


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", default="/", metavar="DIR", help="work on the system below DIR (default /)")
    command.set_defaults(keeps_root=True)


async def _edge_setup(args: argparse.Namespace, state: State) -> int:
    _check_places(args)
    if args.dry_run:
        actions = (
            reversed(edge.done(args.root)) if args.undo else edge.plan(args.root, Path(sys.prefix), args.dashboard)
        )
        for action in actions:
            _say(args, "would take back" if args.undo else "would", action.describe())
    elif args.undo:
        await _take_back(args)
    else:
        async for action, remark in edge.set_up(args.root, Path(sys.prefix), args.dashboard):
            _say(args, "done", action.describe(), remark)
    return 0


async def _take_back(args: argparse.Namespace) -> None:
    if not edge.done(args.root):
        _say(args, "nothing to take back", "edge-setup has changed nothing here")
    async for action in edge.take_back(args.root):
        _say(args, "taken back", action.describe())


async def _uninstall(args: argparse.Namespace, state: State) -> int:
    _check_places(args)
    question = "The agent and HAProxy end, and every site on this shield goes offline. Go on? [y/N] "
    if not args.yes and (await asyncio.to_thread(input, question)).strip().lower() != "y":
        return 1
    async for step in uninstall(args.root, purge=args.purge):
        _say(args, "done", step)
    if not args.json:
        print(f"What is left is the program itself: rm -r {sys.prefix}")
    return 0


async def _errand(args: argparse.Namespace, state: State) -> int:
    _check_places(args)
    async for step in run_errand(args.root):
        _say(args, "done", step)
    return 0


async def _upgrade(args: argparse.Namespace, state: State) -> int:
    _say(args, "done", f"install lumos-agent {await upgrade(args.wheel, args.sha256, state.root)}")
    return 0


def _check_places(args: argparse.Namespace) -> None:
    if not Path(args.root).is_dir():
        raise AgentError(f"--root {args.root} is not a directory")
    if hasattr(args, "state_dir"):
        raise AgentError(
            f"--state-dir does not go with this command: the service keeps its state in {DEFAULT_STATE_DIR}"
        )


def _say(args: argparse.Namespace, result: str, action: str, remark: str = "") -> None:
    """Print one line per step as it happens, so that a failure shows how far it came."""
    if args.json:
        line = json.dumps({"result": result, "action": action, "remark": remark})
    else:
        line = f"{result}: {action}" + (f" ({remark})" if remark else "")
    print(line, flush=True)
