"""What the WAF's work grows with: no pattern of a rule or decoder may cost more than in proportion to a value's length."""

import json
import subprocess
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest

from lumos_agent.render.haproxy import lua_bundle

SHORT_BYTES = 8 * 1024
# Four times the length is four times the work; the square of it would be sixteen times.
LENGTH_FACTOR, WORK_FACTOR_MAX = 4, 10
# Below this the clock is too coarse to compare.
COMPARED_MICROSECONDS = 4000

HOSTILE = [
    "$", "'", '"', "(", ")", "{", "[", "\\", "/", "-", "%", "&", "&#", "&#0", "\\u", "\\u{0", "%u", "%25", "%%35", "\xe0", "\xef\xbc", "\xc0",
    "${", "${a:", "$(", "`a", "|sh", ";a", "; ", "\n", "a=", "a.", "/a", "/?", "/[", ":-", 'o:1:"', "{{", "{{1", "{%", "<?", "<", "<a", "<a ",
    "<script ", "<a b='c'", "<a on", "onx=", "t(a.", "f(1", "$a(", "[a][1", ")(a", "name(", "; cat ", "\necho a", ";$x ", "if ", "for %", "alias ",
    "'';", "constructor", "require(", "1.1", "a:1.1", ".cookie ", "set-cookie:", "\nget ", "#{new ", "%{#a", "jndi:", "\0", "{a,", "^", "java.",
    "@{[a", "http://a", "select ", "union ", "1 or ", "(select ", "/*", "*/", "--", "a'or'", "concat(", "char(1)", ",a", "||", "0x", "../", "..\\",
    "..", "/etc/", "./", "%2e", "<!", "<!--", "<!entity ", "<!entity % ", "<!doctype ", "<![cdata[", "<![CDATA[", "<?import ", "<xml datasrc ", "xsl:", "schemalocation=", "javascript:",
    "alert(", "expression(", "data:", "=1;", "while(", "__", "__proto__", "a__", "rO0AB", "aZ1b", "eval(", "new ", ".class.", "#a=", "system ",
]  # fmt: skip

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local values, engine = require("values"), require("engine")
local short, factor, most, compared = tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
local function cost(judge, raw)
  local began = os.clock()
  judge(raw)
  return (os.clock() - began) * 1e6
end
local function is_steep(judge, seed)
  local one, many = string.rep(seed, short // #seed), string.rep(seed, short * factor // #seed)
  local least, base = math.huge, 0
  for _ = 1, 4 do
    least = math.min(least, cost(judge, many))
    if least < compared then return false end
    base = math.max(base, cost(judge, one))
    if least < base * most then return false end
  end
  return true
end
local place = arg[6]
for seed in io.read("a"):gmatch("%x+") do
  seed = seed:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
  if is_steep(function(raw) values.decoded(place, "x-filename", raw) end, seed) then error("decode is steep for " .. seed) end
  for _, class in ipairs(engine.classes) do
    local function judge(raw)
      local value = values.made(place, place == "document" and "" or "x-filename", raw, raw, 0)
      if not class.gate or class.gate(value) then class.judge(value, function() end) end
    end
    if is_steep(judge, seed) then error(class.group .. " is steep for " .. seed) end
  end
end
"""


@pytest.mark.parametrize("place", ["form", "filename", "header", "document"])
def test_work_grows_with_length_only(tmp_path: Path, place: str) -> None:
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    limits = [str(number) for number in (SHORT_BYTES, LENGTH_FACTOR, WORK_FACTOR_MAX, COMPARED_MICROSECONDS)]
    argv = ["lua5.3", str(tmp_path / "run.lua"), str(tmp_path / "waf.lua"), *limits, place]
    seeds = " ".join(seed.encode("latin-1").hex() for seed in HOSTILE)
    done = subprocess.run(argv, input=seeds, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


# One value of each kind of code, numbered so that no two are the same.
TEXTS = [
    "https://x.test/a{0}?b='c'&d=(e)", "a{0}.b c (d); e = \"f\"", "<p title='a{0}'>b</p>", "{{\"k{0}\": \"it's\"}}", "java.lang.A{0}", "%2e%25{0}",
]  # fmt: skip
THOUSANDS_OF_STEPS_MAX = 700

_COUNTER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local engine, policy = require("engine"), require("policy")
local function field()
  local size = io.read("n", "L")
  return size and io.read(size)
end
while true do
  local kind = field()
  if not kind then break end
  local text, steps = field(), 0
  local headers = { { "content-type", kind }, { "host", "x.test" } }
  local request = { method = "POST", path = "/", query = "", headers = headers, body = text }
  if kind == "query" then request.query, request.body = text, nil end
  if kind == "cookie" then headers[3], request.body = { "cookie", text }, nil end
  debug.sethook(function() steps = steps + 1 end, "", 1000)
  engine.judge(request, policy.parse("block high"))
  debug.sethook()
  print(kind, #text, steps)
end
"""


def test_a_request_has_a_share_of_steps_however_many_values_it_has(tmp_path: Path) -> None:
    """Steps are the interpreter's own, which no load of the machine changes."""
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_COUNTER)
    values = [TEXTS[number % len(TEXTS)].format(number) for number in range(5000)]
    parts = [f'--cut\r\nContent-Disposition: form-data; name="n"\r\n\r\n{value}\r\n' for value in values]
    pairs = "&".join(f"n{number}={quote(value)}" for number, value in enumerate(values))
    bodies = {
        "application/json": json.dumps({f"n{number}": value for number, value in enumerate(values)}),
        "text/plain": json.dumps([json.dumps(values[start : start + 50]) for start in range(0, 5000, 50)]),
        "application/xml": "<a>" + "".join(f"<b c='{escape(value)}'>{escape(value)}</b>" for value in values),
        "multipart/form-data; boundary=cut": "".join(parts),
        "application/x-www-form-urlencoded": pairs,
        "query": pairs,
        "cookie": pairs.replace("&", "; "),
    }
    packed = "".join(f"{len(text)}\n{text}" for kind, body in bodies.items() for text in (kind, body[: 128 * 1024]))
    argv = ["lua5.3", str(tmp_path / "run.lua"), str(tmp_path / "waf.lua")]
    done = subprocess.run(argv, input=packed, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(bodies)
    assert [line for line in lines if int(line.split()[-1]) > THOUSANDS_OF_STEPS_MAX] == []
