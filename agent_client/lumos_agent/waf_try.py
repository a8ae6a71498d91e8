"""What the WAF would say about a request: the very engine of the shields, in a process with limits of its own."""

import subprocess
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from msgspec import Struct

from lumos_agent.errors import AgentError
from lumos_agent.render.haproxy import BODY_BYTES, Entry, lua_bundle
from lumos_agent.render.policies import policy_value, rules_value
from lumos_agent.schema import CustomRule, Policy

REQUEST_BYTES_MAX = 256 * 1024
MATCHED_CHARACTERS = 128
SECONDS = 2
LUA = "lua5.3"
MEMORY_BYTES = 256 * 1024 * 1024


class Finding(Struct, frozen=True, kw_only=True):
    """One rule that objects, and to what."""

    rule: str
    group: str
    score: int
    why: str
    place: str
    name: str
    matched: str


class Trial(Struct, frozen=True, kw_only=True):
    """The verdict: `pass` without findings, else the action that a shield would take."""

    action: Literal["pass", "detect", "block"] = "pass"
    score: int = 0
    findings: tuple[Finding, ...] = ()


class Rule(Struct, frozen=True, kw_only=True):
    """One rule of the engine, and why it objects."""

    id: str
    group: str
    score: int
    why: str


class Catalogue(Struct, frozen=True, kw_only=True):
    """What the engine knows: {group: what it is about}, {id: rule} and {level: score from which it objects}."""

    groups: dict[str, str]
    rules: dict[str, Rule]
    thresholds: dict[str, int]


@lru_cache(maxsize=4)
def _program(entry: Entry) -> str:
    return lua_bundle(entry)


def request_fields(request: bytes) -> list[bytes]:
    """Return method, path, query, body and the names and values of headers of a raw HTTP/1.1 request."""
    blank = b"\r\n\r\n" if b"\r\n\r\n" in request else b"\n\n"
    head, _, body = request.partition(blank)
    first, *lines = head.replace(b"\r\n", b"\n").split(b"\n")
    method, _, rest = first.partition(b" ")
    target = rest.rpartition(b" HTTP/")[0] or rest
    path, _, query = target.partition(b"?")
    fields = [method, path, query, body[:BODY_BYTES]]
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            fields += [name.strip().lower(), value.strip()]
    return fields


def packed(fields: list[bytes]) -> bytes:
    """Return fields as the engine's bindings to a pipe read them."""
    return b"".join(b"%d\n%s" % (len(field), field) for field in fields)


def unpacked(data: bytes) -> list[str]:
    """Return the fields of an answer, what is no UTF-8 replaced."""
    fields, at = [], 0
    while at < len(data):
        start = data.index(b"\n", at) + 1
        at = start + int(data[at:start])
        fields.append(data[start:at].decode(errors="replace"))
    return fields


def run_engine(entry: Entry, stdin: bytes = b"") -> bytes:
    """Run the engine with one of its bindings to a pipe, in a process with limits on time and memory.

    Raises:
        AgentError: over a limit, or there is no interpreter.
    """
    with tempfile.NamedTemporaryFile(suffix=".lua") as program:
        Path(program.name).write_text(_program(entry), encoding="utf-8")
        argv = ["prlimit", f"--as={MEMORY_BYTES}", f"--cpu={SECONDS}", LUA, program.name]
        try:
            done = subprocess.run(argv, input=stdin, capture_output=True, timeout=SECONDS * 2, check=True)  # noqa: S603 - argv is ours
        except FileNotFoundError as error:
            raise AgentError(f"{error.filename} is not installed; install its package and try again") from error
        except subprocess.SubprocessError as error:
            raise AgentError("the request could not be judged within the limits on time and memory") from error
    return done.stdout


class Sample(Struct, frozen=True, kw_only=True):
    """What is kept of a request; `asn` is a number. A rule finds other headers, cookies and the body empty."""

    client: str
    method: str
    path: str
    query: str
    host: str
    user_agent: str
    country: str = ""
    asn: str = ""


def dry_run(rules: tuple[CustomRule, ...], samples: Iterable[Sample], now: int) -> list[tuple[str, ...]]:
    """Return the ids of the rules that hold for each request, as a shield would apply them at a time.

    Raises:
        AgentError: it took too much time or memory.
    """
    fields = [rules_value(rules), str(now)]
    for sample in samples:
        fields += [getattr(sample, name) for name in Sample.__struct_fields__]
    lines = run_engine("dryrun", packed([field.encode(errors="replace") for field in fields])).decode().splitlines()
    return [tuple(word for word in line.split() if word != "-") for line in lines]


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """Return the groups, rules and thresholds that the engine itself tells.

    Raises:
        AgentError: there is no interpreter for it.
    """
    groups: dict[str, list[str]] = {}
    rules: dict[str, Rule] = {}
    thresholds: dict[str, int] = {}
    for line in run_engine("catalogue").decode().splitlines():
        kind, *fields = line.split("\t")
        if kind == "threshold":
            thresholds[fields[0]] = int(fields[1])
        elif kind == "group":
            groups.setdefault(fields[0], []).append(fields[1])
        else:
            group, rule, score, why = fields
            rules[rule] = Rule(id=rule, group=group, score=int(score), why=why)
    about = {group: " ".join(sentences) for group, sentences in sorted(groups.items())}
    return Catalogue(groups=about, rules=dict(sorted(rules.items())), thresholds=thresholds)


def judge(request: bytes, policy: Policy) -> Trial:
    """Judge a raw HTTP/1.1 request as a shield with this policy would.

    Raises:
        AgentError: the request is too large, or judging it took too much time or memory.
    """
    if len(request) > REQUEST_BYTES_MAX:
        raise AgentError(f"a request to try has at most {REQUEST_BYTES_MAX} bytes")
    if policy.mode == "off":
        return Trial()
    answer = unpacked(run_engine("trial", packed([policy_value(policy).encode(), *request_fields(request)])))
    if not answer:
        return Trial()
    action, score, *rest = answer
    findings = tuple(
        Finding(
            rule=rule,
            group=group,
            score=int(points),
            why=why,
            place=place,
            name=name,
            matched=matched[:MATCHED_CHARACTERS],
        )
        for rule, group, points, why, place, name, matched in zip(*[iter(rest)] * 7, strict=True)
    )
    return Trial(action="block" if action == "block" else "detect", score=int(score), findings=findings)
