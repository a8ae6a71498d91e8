"""Judges values with one class of the WAF's rules, in one lua5.3 process and without HAProxy."""

import subprocess
from pathlib import Path
from urllib.parse import quote

from lumos_agent.render.haproxy import lua_bundle

# Below this no level of a policy objects.
SCORE_OF_HIGH = 3

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local values = require("values")
local class = require("rules." .. arg[3])
local ids = {}
for _, rule in pairs(class.rules) do
  ids[#ids + 1] = rule.id
  assert(rule.score > 0 and #rule.why > 10, rule.id)
end
io.write(table.concat(ids, " "), "\\n")
for line in io.lines(arg[2]) do
  local place, raw = line:match("^(%S+) (.*)$")
  local value = values.sent(place, "q", raw)
  local found, began = {}, os.clock()
  if not class.gate or class.gate(value) then
    class.judge(value, function(rule, matched)
      assert(type(matched) == "string")
      found[rule.id] = rule.score
    end)
  end
  io.write(string.format("%.3f", os.clock() - began))
  for id, score in pairs(found) do io.write(" ", id, "=", score) end
  io.write("\\n")
end
"""


class Judged:
    """What one class of rules found in each value, its rules' ids, and the seconds that the slowest value took."""

    def __init__(self, output: str) -> None:
        """Read the runner's lines."""
        first, *lines = output.splitlines()
        self.ids = set(first.split())
        self.found: list[dict[str, int]] = []
        self.slowest_seconds = 0.0
        for line in lines:
            seconds, *hits = line.split()
            self.slowest_seconds = max(self.slowest_seconds, float(seconds))
            self.found.append({name: int(score) for name, score in (hit.split("=") for hit in hits)})


def judge(tmp_path: Path, rules: str, texts: list[str], place: str = "query") -> Judged:
    """Judge each text, URL-encoded, as a value that came in `place`."""
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    lines = [f"{place} {quote(text, safe='')}\n" for text in texts]
    (tmp_path / "in").write_text("".join(lines))
    argv = ["lua5.3", *(str(tmp_path / name) for name in ("run.lua", "waf.lua", "in")), rules]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Judged(done.stdout)


def missed(tmp_path: Path, rules: str, attacks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the attacks that their rule did not find, with the rules that did; every rule must have an attack."""
    texts = [(rule, text) for rule, values in attacks.items() for text in values]
    judged = judge(tmp_path, rules, [text for _, text in texts])
    assert judged.ids == set(attacks)
    return {text: sorted(hits) for (rule, text), hits in zip(texts, judged.found, strict=True) if rule not in hits}


def stopped(tmp_path: Path, rules: str, honest: list[str]) -> dict[str, list[str]]:
    """Return the honest texts that level high would stop."""
    judged = judge(tmp_path, rules, honest)
    return {
        text: sorted(hits)
        for text, hits in zip(honest, judged.found, strict=True)
        if max(hits.values(), default=0) >= SCORE_OF_HIGH
    }
