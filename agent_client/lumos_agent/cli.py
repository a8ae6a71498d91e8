"""The command `lumos-agent`. Human text by default, --json for programs; errors of use without tracebacks."""

import argparse
import asyncio
import contextlib
import difflib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lumos_agent import __version__, beside, doctor, haproxy_report, logs
from lumos_agent.apply import Applier
from lumos_agent.config import DEFAULT_STATE_DIR, Settings, State
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.enrolment import enroll, read_token
from lumos_agent.errors import AgentError
from lumos_agent.memory import give_back_large_buffers
from lumos_agent.options import options_of
from lumos_agent.reconcile import Agent
from lumos_agent.store import Store
from lumos_agent.system import commands as system_commands
from lumos_agent.system.owner import act_as_owner_of

_MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def _show(args: argparse.Namespace, content: Any, text: str) -> None:
    print(json.dumps(content, indent=2) if args.json else text)


async def _enroll(args: argparse.Namespace, state: State) -> int:
    chosen = {
        "http": args.http,
        "https": args.https,
        "dns": args.dns,
        "local_http": args.local_http,
        "proxy_protocol_from": args.proxy_protocol_from,
        "poll_seconds": args.poll_seconds,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        settings = msgspec.convert({"gateway_url": args.url, "ca_file": args.ca_file, **given}, Settings)
    except msgspec.ValidationError as error:
        raise AgentError(
            "--http, --https and --dns take address:port, such as 0.0.0.0:80 or [::]:80; --local-http takes one of "
            "this machine's own, such as 127.0.0.1:9101; --proxy-protocol-from takes networks, such as 10.0.0.0/24; "
            f"--poll-seconds takes 1 to 3600: {error}"
        ) from error
    before = haproxy_report.read_config(args.haproxy_cfg) if args.haproxy_cfg else None
    found = None if before is None else haproxy_report.imported_from(before, args.haproxy_cfg.parent)
    server_id = await enroll(state, settings, read_token(args.token_file))
    content: dict[str, Any] = {"server_id": server_id}
    text = f"Enrolled as server {server_id}. Start it: lumos-agent run"
    if before is not None and found is not None:
        kept = haproxy_report.keep(before, state)
        content |= {"haproxy_cfg": haproxy_report.shown(found), "kept_as": str(kept)}
        text += f"\n\n{haproxy_report.table(found)}\n\n{kept} is a copy. To take the domains over, write them to a file"
        text += f"\nand upload it in the dashboard: lumos-agent import-haproxy {args.haproxy_cfg} --output domains.json"
    _show(args, content, text)
    return 0


async def _import_haproxy(args: argparse.Namespace, state: State) -> int:
    found = haproxy_report.imported_from(haproxy_report.read_config(args.file), args.file.parent)
    text = haproxy_report.table(found)
    if args.output:
        haproxy_report.write_document(found, args.output)
        text += f"\n\n{args.output} is written. Upload it in the dashboard: Domains, Import and export."
    _show(args, haproxy_report.shown(found), text)
    return 0 if found.domains else 1


async def _run(args: argparse.Namespace, state: State) -> int:
    logs.configure()
    give_back_large_buffers()
    agent = asyncio.create_task(Agent(state).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await agent
    return 0


async def _status(args: argparse.Namespace, state: State) -> int:
    state.settings()
    status = doctor.read_status(state) or {"connection": "the agent has never run here"}
    status["haproxy"] = await doctor.haproxy_state(state)
    lines = [
        f"Connection  {status['connection']}",
        f"Revision    {status.get('revision', 0)} (digest {str(status.get('digest', ''))[:12] or 'none'})",
        f"HAProxy     {_haproxy_line(status['haproxy'])}",
        f"Last apply  {_apply_line(status.get('last_apply'))}",
        f"Waiting     {status.get('waiting_batches', 0)} batches of metrics",
    ]
    _show(args, status, "\n".join(lines))
    return 0


def _haproxy_line(haproxy: Any) -> str:
    if not haproxy["running"]:
        return f"NOT RUNNING: {haproxy['error']}"
    return f"running, {haproxy['version']}, up {haproxy['uptime']}"


def _apply_line(last: Any) -> str:
    if not last:
        return "none yet"
    if last["type"] == "failed":
        return f"revision {last['revision']} FAILED at {last['stage']}: {last['message']}"
    return f"revision {last['revision']} by {last['how']} in {last['duration_ms']} ms ({last['reason']})"


def _applier(state: State) -> tuple[Applier, Haproxy]:
    settings = state.settings()
    haproxy = Haproxy(state, settings.http, settings.https)
    return Applier(state, options_of(state), haproxy, Store(state.snapshot_file, state.token())), haproxy


async def _config_show(args: argparse.Namespace, state: State) -> int:
    text = _configuration(state.current)
    _show(args, {"haproxy_cfg": text}, text)
    return 0


def _configuration(folder: Path) -> str:
    try:
        return (folder / "haproxy.cfg").read_text(encoding="utf-8")
    except OSError as error:
        raise AgentError(f"no configuration yet: {error}") from error


async def _config_diff(args: argparse.Namespace, state: State) -> int:
    applier, _ = _applier(state)
    previous = applier.previous_folder()
    if previous is None:
        raise AgentError("there is no earlier configuration to compare with")
    names = ["haproxy.cfg", *sorted(f"maps/{path.name}" for path in (state.current / "maps").glob("*.map"))]
    lines: list[str] = []
    for name in names:
        before, after = (folder / name for folder in (previous, state.current))
        old = before.read_text().splitlines() if before.exists() else []
        lines += difflib.unified_diff(old, after.read_text().splitlines(), f"before/{name}", f"now/{name}", lineterm="")
    _show(args, {"diff": lines}, "\n".join(lines))
    return 0


async def _config_validate(args: argparse.Namespace, state: State) -> int:
    _, haproxy = _applier(state)
    _configuration(state.current)
    refusal = await haproxy.check(state.current)
    _show(args, {"valid": refusal is None, "message": refusal}, refusal or "haproxy -c accepts the configuration.")
    return 0 if refusal is None else 1


async def _rollback(args: argparse.Namespace, state: State) -> int:
    applier, _ = _applier(state)
    identity = await applier.roll_back()
    text = f"Revision {identity.revision} is served again. The next change from the control plane replaces it."
    _show(args, msgspec.to_builtins(identity), text)
    return 0


async def _doctor(args: argparse.Namespace, state: State) -> int:
    findings = await doctor.diagnose(state)
    lines = [
        f"{_MARKS[f.result]}  {f.check}: {f.detail}" + (f"\n      -> {f.advice}" if f.advice else "") for f in findings
    ]
    _show(args, msgspec.to_builtins(findings), "\n".join(lines))
    return 1 if any(finding.result == "fail" for finding in findings) else 0


async def _shutdown(args: argparse.Namespace, state: State) -> int:
    question = "HAProxy ends and every site on this shield goes offline. Go on? [y/N] "
    if not args.yes and (await asyncio.to_thread(input, question)).strip().lower() != "y":
        return 1
    settings = state.settings()
    haproxy = Haproxy(state, settings.http, settings.https)
    was_running = haproxy.stop()
    await haproxy.end_master()
    await beside.stop(state)
    _show(args, {"stopped": was_running}, "HAProxy has ended." if was_running else "HAProxy was not running.")
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state-dir", default=argparse.SUPPRESS, help=f"where the state is (default {DEFAULT_STATE_DIR})"
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer in JSON")
    parser = argparse.ArgumentParser(prog="lumos-agent", description=__doc__, parents=[common])
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, call: Any, text: str, to: Any = commands) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = to.add_parser(name, help=text, description=text, parents=[common])
        command.set_defaults(call=call)
        return command

    command = add("enroll", _enroll, "connect this machine to a control plane")
    command.add_argument("--url", required=True, help="wss://…/agent/v1")
    command.add_argument("--token-file", help="file with the server token (default: LUMOS_TOKEN)")
    command.add_argument("--http", action="append", metavar="ADDRESS:PORT", help="may be repeated")
    command.add_argument("--https", action="append", metavar="ADDRESS:PORT", help="may be repeated")
    command.add_argument(
        "--dns", action="append", metavar="ADDRESS:PORT", help="where zones are answered; may be repeated"
    )
    command.add_argument(
        "--proxy-protocol-from",
        action="append",
        metavar="NETWORK",
        help="load balancers that send a PROXY protocol header; may be repeated",
    )
    command.add_argument(
        "--poll-seconds", type=int, metavar="N", help="how often to poll where WebSockets are refused (default: 60)"
    )
    command.add_argument("--local-http", metavar="ADDRESS:PORT", help="metrics and health; empty: off")
    command.add_argument("--ca-file", default="", help="CA certificates to trust for the gateway")
    command.add_argument("--haproxy-cfg", type=Path, metavar="FILE", help="keep a copy and say what can be taken over")
    command = add("import-haproxy", _import_haproxy, "read an existing haproxy.cfg: which domains can be taken over")
    command.add_argument("file", type=Path, metavar="FILE", help="haproxy.cfg; it is only read")
    command.add_argument("--output", type=Path, metavar="FILE.json", help="write a document for the dashboard's import")
    command.set_defaults(keeps_root=True)
    add("run", _run, "run the agent (HAProxy goes on when it ends)")
    add("status", _status, "what is connected, applied and running")
    config = commands.add_parser("config", help="look at the configuration").add_subparsers(required=True)
    add("show", _config_show, "print haproxy.cfg", config)
    add("diff", _config_diff, "compare with the configuration before", config)
    add("validate", _config_validate, "let HAProxy check the configuration", config)
    add("rollback", _rollback, "put the previous configuration back into service")
    add("doctor", _doctor, "find out what is wrong and what to do")
    command = add("shutdown", _shutdown, "end HAProxy: all sites of this shield go offline")
    command.add_argument("--yes", action="store_true", help="do not ask")
    system_commands.add_to(add)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    args = _parser().parse_args(argv)
    args.json = getattr(args, "json", False)
    root = getattr(args, "state_dir", os.environ.get("LUMOS_STATE_DIR", DEFAULT_STATE_DIR))
    if not getattr(args, "keeps_root", False):
        act_as_owner_of(Path(root))
    try:
        return int(asyncio.run(args.call(args, State(Path(root)))))
    except AgentError as error:
        print(f"lumos-agent: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
