"""The engine fails open, so a misspelt or unimported name would switch a check off silently: no file may hold one."""

import re
import subprocess
from pathlib import Path

import pytest

import lumos_agent

FILES = sorted((Path(lumos_agent.__file__).parent / "render/lua").rglob("*.lua"))
# What Lua 5.3 and HAProxy (core, Map) provide.
PROVIDED = {
    "Map", "assert", "collectgarbage", "core", "coroutine", "debug", "error", "getmetatable", "io", "ipairs", "load",
    "math", "next", "os", "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
    "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8",
}  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_uses_no_undefined_global(file: Path) -> None:
    listing = subprocess.run(["luac5.3", "-l", "-p", file], capture_output=True, text=True, check=True).stdout
    used = re.findall(r'\b([GS]ET)TABUP.*_ENV "(\w+)"', listing)
    assert {name for verb, name in used if verb == "SET"} == set()
    assert {name for _, name in used} <= PROVIDED
