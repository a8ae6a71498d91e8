"""What a customer's script would do with a request: the shields' own runtime, in a process with limits of its own."""

import re
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from lumos_agent.script.compiler import compiled
from lumos_agent.script.lexer import ScriptError
from lumos_agent.waf_try import packed, request_fields, run_engine, unpacked

_PLACE = re.compile(r"script:(\d+): ")
Kind = Literal["pass", "answer", "drop"]


class ScriptTrial(Struct, frozen=True, kw_only=True):
    """What a script decided: to let the request `pass`, to `answer` it, or to `drop` the connection.

    `failure` says why it failed, "" if it did not. `steps` is what it took of the limit on its work.
    """

    failure: str = ""
    kind: Kind = "pass"
    status: int | None = None
    steps: int = 0
    headers: tuple[str, ...] = ()
    body: str = ""
    changes: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()


@lru_cache(maxsize=512)
def check_script(source: str) -> None:
    """Have the interpreter itself read a script; it knows limits that this side does not.

    Raises:
        ScriptError: it is no Lua.
        AgentError: there is no interpreter, or it took too much time or memory.
    """
    if not source:
        return
    _, problem = unpacked(run_engine("script_trial", packed([compiled(source).text.encode()])))
    if found := _PLACE.match(problem):
        raise ScriptError(problem[found.end() :], int(found[1]))
    if problem:
        raise ScriptError(problem, 1)


def try_script(
    source: str, request: bytes, *, client: str = "192.0.2.7", country: str = "", scheme: str = "https"
) -> ScriptTrial:
    """Run a script on a raw HTTP/1.1 request; dictionaries are empty.

    Raises:
        ScriptError: it is no Lua.
        AgentError: it took too much time or memory for a trial.
    """
    fields = [compiled(source).text.encode(), client.encode(), country.encode(), scheme.encode()]
    answer = unpacked(run_engine("script_trial", packed([*fields, *request_fields(request)])))
    found: dict[str, list[str]] = {}
    for name, value in zip(*[iter(answer)] * 2, strict=True):
        found.setdefault(name, []).append(value)
    status = found["status"][0]
    return ScriptTrial(
        failure=found["failure"][0],
        kind=found["kind"][0],  # type: ignore[arg-type]
        status=int(status) if status else None,
        steps=int(found["steps"][0]),
        headers=tuple(sorted(found.get("header", []))),
        body=found["body"][0],
        changes=tuple(found.get("change", [])),
        logs=tuple(found.get("log", [])),
    )
