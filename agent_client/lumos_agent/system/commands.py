"""The commands that change the machine: `edge-setup`."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from lumos_agent.config import State
from lumos_agent.errors import AgentError
from lumos_agent.system import edge

AddCommand = Callable[..., argparse.ArgumentParser]


def add_to(add: AddCommand) -> None:
    """Add the commands to the parser."""
    command = add("edge-setup", _edge_setup, "prepare this machine: user, service, kernel settings")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    command.add_argument("--undo", action="store_true", help="bring back what was there before")
    _add_root(command)


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", default="/", metavar="DIR", help="work on the system below DIR (default /)")
    command.set_defaults(keeps_root=True)


async def _edge_setup(args: argparse.Namespace, state: State) -> int:
    _require_root_directory(args.root)
    if args.dry_run:
        actions = reversed(edge.done(args.root)) if args.undo else edge.plan(args.root, Path(sys.prefix))
        for action in actions:
            _say(args, "would take back" if args.undo else "would", action.describe())
    elif args.undo:
        await _take_back(args)
    else:
        async for action, remark in edge.set_up(args.root, Path(sys.prefix)):
            _say(args, "done", action.describe(), remark)
    return 0


async def _take_back(args: argparse.Namespace) -> None:
    if not edge.done(args.root):
        _say(args, "nothing to take back", "edge-setup has changed nothing here")
    async for action in edge.take_back(args.root):
        _say(args, "taken back", action.describe())


def _require_root_directory(root: str) -> None:
    if not Path(root).is_dir():
        raise AgentError(f"--root {root} is not a directory")


def _say(args: argparse.Namespace, result: str, action: str, remark: str = "") -> None:
    """Print one line per step as it happens, so that a failure shows how far it came."""
    if args.json:
        line = json.dumps({"result": result, "action": action, "remark": remark})
    else:
        line = f"{result}: {action}" + (f" ({remark})" if remark else "")
    print(line, flush=True)
