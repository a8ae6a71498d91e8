"""The engine knows every path that a common origin may take a spelling for, so none is judged as another than it is."""

import posixpath
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from lumos_agent.render.haproxy import lua_bundle
from lumos_agent.schema import Exclusion, Policy
from lumos_agent.waf_try import judge

SPELLINGS = [
    "/", "/a/b", "/a/b/", "/a/../b", "/a/./b", "/a/b/..", "/a/b/.", "/../a", "//a//b", "/a//../b", "/a/%2e%2e/b", "/a/.%2E/b", "/a%2fb",
    "/a%2f..%2fb", "/a%252f..%252fb", "/a/%252e%252e/b", "/a\\..\\b", "/a%5c..%5cb", "/a%255c..%255cb", "/a;x/b", "/a/..;/b", "/a/..;x=1/b",
    "/a/%2e%2e;/b", "/a%3b/..%3b/b", "/a%00.png", "/a/%00/b", "/%61/b", "/a%2", "/a/...//b", "/a/.;/b", "/a%20b", "/a?", "/a/b;c=d/e",
]  # fmt: skip


def resolved(path: str) -> str:
    """Return `path` without dot segments and double slashes, which keeps a slash at its end."""
    plain = posixpath.normpath("/" + path.lstrip("/"))
    is_folder = path.endswith(("/", "/.", "/..")) and plain != "/"
    return plain + "/" if is_folder else plain


def as_tomcat(path: str) -> str:
    return resolved(unquote(re.sub(r";[^/]*", "", path)))


def as_iis(path: str) -> str:
    return resolved(unquote(path).replace("\\", "/"))


def as_iis_twice(path: str) -> str:
    return resolved(unquote(unquote(path)).replace("\\", "/"))


def as_c(path: str) -> str:
    return resolved(unquote(path).split("\0")[0])


ORIGINS: dict[str, Callable[[str], str]] = {
    "takes it as it is": lambda path: path,
    "decodes": unquote,
    "decodes, then resolves (nginx)": lambda path: resolved(unquote(path)),
    "resolves, does not decode": resolved,
    "merges slashes alone": lambda path: re.sub("/+", "/", unquote(path)),
    "drops parameters (Tomcat)": as_tomcat,
    "drops parameters after decoding": lambda path: resolved(re.sub(r";[^/]*", "", unquote(path))),
    "takes backslashes for slashes (IIS)": as_iis,
    "decodes twice": as_iis_twice,
    "ends at NUL": as_c,
}

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local readings = require("readings")
for path in io.lines() do
  local hex = {}
  for _, reading in ipairs(readings.of(path)) do
    hex[#hex + 1] = reading:gsub(".", function(one) return string.format("%02x", one:byte()) end)
  end
  print(table.concat(hex, " "))
end
"""


def test_every_origins_path_is_among_the_readings(tmp_path: Path) -> None:
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    argv = ["lua5.3", str(tmp_path / "run.lua"), str(tmp_path / "waf.lua")]
    done = subprocess.run(argv, input="\n".join(SPELLINGS), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    known = {
        path: {bytes.fromhex(word).decode() for word in line.split()}
        for path, line in zip(SPELLINGS, lines, strict=True)
    }
    wrong = [
        (path, origin, take(path))
        for path in SPELLINGS
        for origin, take in ORIGINS.items()
        if take(path) not in known[path]
    ]
    assert wrong == []
    assert max(len(paths) for paths in known.values()) <= 12


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/upload", "pass"),
        ("/upload/a/b", "pass"),
        ("/upload//a", "pass"),
        ("/upload/a%20b", "pass"),
        ("/upload;x/a", "block"),
        ("/upload/../login", "block"),
        ("/upload/%2e%2e/login", "block"),
        ("/upload/..;/login", "block"),
        ("/upload%2f..%2flogin", "block"),
        ("/upload\\..\\login", "block"),
        ("/login/../upload", "block"),
        ("/login", "block"),
        ("/upload/" + "a" * 5000, "block"),
    ],
)
def test_an_exclusion_holds_where_no_origin_reads_another_path(path: str, action: str) -> None:
    policy = Policy(level="high", exclusions=(Exclusion(path="/upload"),))
    request = f"GET {path}?f=../../etc/passwd HTTP/1.1\r\nHost: a.example\r\n\r\n"
    assert judge(request.encode(), policy).action == action
