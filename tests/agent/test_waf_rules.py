"""The WAF engine outside HAProxy: attacks are found, honest look-alikes pass."""

import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from lumos_agent.render.haproxy import lua_bundle

ATTACKS = {
    "1' UNION SELECT password FROM users--": "sqli-union",
    "-1 union all select null,null,concat(user,0x3a,password) from users": "sqli-union",
    "1/**/union/**/select/**/1,2,3": "sqli-union",
    "un/**/ion sel/**/ect 1,2": "sqli-union",
    "1 or 1=1": "sqli-tautology",
    "' or 'a'='a": "sqli-tautology",
    '" or ""="': "sqli-tautology",
    "1) or (1=1": "sqli-tautology",
    "admin'--": "sqli-terminator",
    "admin' #": "sqli-terminator",
    "1;drop table x": "sqli-stacked",
    "1; waitfor delay '0:0:5'--": "sqli-stacked",
    "1 and sleep(5)": "sqli-function",
    "1' and extractvalue(1,concat(0x7e,version()))--": "sqli-function",
    "1' || (select password from users)--": "sqli-subselect",
    "1 order by 10--": "sqli-clause",
    "%2527%2520or%25201=1": "sqli-tautology",
    "../../etc/passwd": "traversal-parameter",
    "....//....//x": "traversal-parameter",
    "/etc/passwd": "traversal-system-file",
    "c:\\windows\\win.ini": "traversal-system-file",
    "file:///etc/passwd": "traversal-system-file",
    "x.php\0.png": "traversal-null",
}
HONEST = [
    "select a size from the union catalogue", "it's 5 o'clock", "O'Brien", "rock'n'roll", "drop table tennis set", "a..b",
    "v1...v2", "1 or 2", "this or that", "black and white = grey", "tom & jerry", "(select one)", "a;b;c",
    "update the list; delete the old", "it's or it isn't", "the dogs' party -- great", "order by phone", "50% off",
    "https://example.com/a?b=c", "2024-01-01", "name='x'", "group by 3 friends", "don't stop 'til you get enough",
    "/etc is a folder", "windows 11 home", "union jack", "sleep (8 hours)", "admin", "../style.css",
]  # fmt: skip
BAD_PATHS = {
    "/../etc/passwd": "traversal-climb",
    "/..%2f..%2fetc/passwd": "traversal-climb",
    "/a/%252e%252e/%252e%252e/b": "traversal-climb",
    "/%c0%ae%c0%ae/%c0%ae%c0%ae/x": "traversal-climb",
    "/..%5c..%5cwin": "traversal-climb",
    "/a/..;/..;/c": "traversal-climb",
    "/static/a/%2e%2e/x": "traversal-encoded",
}
GOOD_PATHS = ["/static/../css/a.css", "/a/b/c", "/it's/me", "/a-b--c/d", "/wiki/Union_(set)", "/a/./b", "/..well/x"]

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local engine = require("engine")
local answers = {}
for line in io.lines(arg[2]) do
  local level, path, query = line:match("^(%a+)\\t([^\\t]*)\\t(.*)$")
  local verdict = engine.judge({ path = path, query = query, headers = {} }, require("policy").parse("block " .. level))
  io.write(verdict and table.concat(verdict.rules, ",") or "", "\\n")
end
"""


def judged(tmp_path: Path, requests: list[tuple[str, str, str]]) -> list[list[str]]:
    """Return the rule ids that object to each (level, path, query)."""
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    (tmp_path / "in").write_text("".join("\t".join(request) + "\n" for request in requests))
    argv = ["lua5.3", *(str(tmp_path / name) for name in ("run.lua", "waf.lua", "in"))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [[rule for rule in line.split(",") if rule] for line in done.stdout.splitlines()]


def test_attacks_in_the_query_are_found(tmp_path: Path) -> None:
    found = judged(tmp_path, [("medium", "/", "id=" + quote(text)) for text in ATTACKS])
    missed = {text: rules for (text, rule), rules in zip(ATTACKS.items(), found, strict=True) if rule not in rules}
    assert not missed


def test_attacks_in_the_path_are_found(tmp_path: Path) -> None:
    found = judged(tmp_path, [("medium", path, "") for path in BAD_PATHS])
    missed = {path: rules for (path, rule), rules in zip(BAD_PATHS.items(), found, strict=True) if rule not in rules}
    assert not missed


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_honest_requests_pass(tmp_path: Path, level: str) -> None:
    requests = [(level, "/", "q=" + quote(text)) for text in HONEST] + [(level, path, "") for path in GOOD_PATHS]
    stopped = {r[1] + r[2]: rules for r, rules in zip(requests, judged(tmp_path, requests), strict=True) if rules}
    assert not stopped


def test_engine_survives_anything_and_stays_cheap(tmp_path: Path) -> None:
    hostile = [
        "'" * 4000, "(" * 4000, "%" * 4000, "%25" * 1500, "/*" * 2000, "a=1&" * 3000, "select " * 600, "../" * 1500,
        "&#x" * 1500, "%u" * 2000, "%c0" * 1500, "or 1=" * 800, "\\" * 4000, "-- " * 1500, ";drop " * 700,
    ]  # fmt: skip
    answers = judged(tmp_path, [("high", "/" + text.replace("?", ""), text) for text in hostile])
    assert len(answers) == len(hostile)
