"""Runs the scripts' own library in a Lua process, without a shield."""

import subprocess
from importlib import resources

from lumos_agent.render.haproxy import lua_modules

# Runs `action` as a script is run, under limits that it does not reach, and returns what it returns.
_HEAD = """
local limits = require("script.limits")
local function metered(action, ...)
  local meter = limits.begin({}, 0)
  limits.enter(meter)
  local co = coroutine.create(action)
  local answer = table.pack(coroutine.resume(co, ...))
  if coroutine.status(co) ~= "dead" then return "over the limit" end
  if not answer[1] then return "error " .. tostring(answer[2]) end
  return table.unpack(answer, 2, answer.n)
end
"""


def quoted(text: str) -> str:
    """Return a literal of Lua."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


def run_lua(program: str, replaced: tuple[tuple[str, str], ...] = ()) -> str:
    """Return what a program writes; `replaced` are texts of the library to replace."""
    folder = resources.files("lumos_agent.render") / "lua" / "script"
    library = "".join(
        f'package.preload["{name}"] = function()\n{text}end\n' for name, text in lua_modules(folder, "script.").items()
    )
    # However busy the machine is.
    for before, after in (("local SECONDS = 0.003", "local SECONDS = 10"), *replaced):
        assert before in library
        library = library.replace(before, after)
    done = subprocess.run(
        ["lua5.3", "-"], input=library + _HEAD + program, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
