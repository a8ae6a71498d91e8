"""Policies as map values: nothing hostile gets in, and the engine reads back what was meant."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumos_agent.render.haproxy import lua_bundle
from lumos_agent.render.policies import policy_value
from lumos_agent.schema import EXCLUSIONS_MAX, Exclusion, Policy, SchemaError

_RULES = st.from_regex(r"\A(?:[a-z][a-z0-9-]{1,47})?\Z")
_PATHS = st.from_regex(r"\A(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,60})?\Z")
_NAMES = st.from_regex(r"\A[a-z0-9_.\[\]$:@/-]{0,30}\Z")
_EXCLUSIONS = st.tuples(_RULES, _PATHS, _NAMES).filter(any)
_GROUPS = st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9-]{1,31}\Z"), st.sampled_from(["off", "detect"]), max_size=4)
_READ_BACK = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local policy = require("policy")
for line in io.lines() do
  local read = policy.parse(line)
  local parts = {}
  for group, mode in pairs(read.groups) do parts[#parts + 1] = group .. "=" .. mode end
  table.sort(parts)
  for _, x in ipairs(read.exclusions) do parts[#parts + 1] = x.what .. "\\t" .. x.path .. "\\t" .. x.name end
  print(read.mode .. "\\1" .. read.threshold .. "\\1" .. table.concat(parts, "\\1"))
end
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder: Path = tmp_path_factory.mktemp("policies")
    (folder / "waf.lua").write_text(lua_bundle())
    (folder / "read.lua").write_text(_READ_BACK)
    return ["lua5.3", str(folder / "read.lua"), str(folder / "waf.lua")]


@settings(max_examples=40)
@given(data=st.data())
def test_engine_reads_what_was_rendered(reader: list[str], data: st.DataObject) -> None:
    groups: dict[str, Any] = data.draw(_GROUPS)
    exclusions = data.draw(st.lists(_EXCLUSIONS, max_size=4))
    policy = Policy(
        level="high", groups=groups, exclusions=tuple(Exclusion(rule=r, path=p, parameter=n) for r, p, n in exclusions)
    )
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
    value = policy_value(policy)
    assert re.fullmatch(r"[A-Za-z0-9 =,@%/._~-]+", value)
    done = subprocess.run(reader, input=value + "\n", capture_output=True, text=True, timeout=20, check=True)
    mode, threshold, *parts = done.stdout.removesuffix("\n").split("\1")
    wanted = [f"{group}={mode}" for group, mode in sorted(groups.items())] + ["\t".join(e) for e in exclusions]
    assert (mode, threshold, [part for part in parts if part]) == ("block", "3", wanted)


@pytest.mark.parametrize(
    "hostile",
    [
        {"groups": {"sqli off": "off"}},
        {"groups": {"sqli\n": "off"}},
        {"groups": {"sqli": "allow"}},
        {"groups": {f"g{n}": "off" for n in range(40)}},
        {"exclusions": [{}]},
        {"exclusions": [{"rule": "a b"}]},
        {"exclusions": [{"path": "no-slash"}]},
        {"exclusions": [{"path": "/a b"}]},
        {"exclusions": [{"path": "/a\nd1 off low"}]},
        {"exclusions": [{"parameter": "q;show stat"}]},
        {"exclusions": [{"parameter": "q"}] * (EXCLUSIONS_MAX + 1)},
    ],
)
def test_hostile_policies_are_refused(hostile: dict[str, object]) -> None:
    with pytest.raises((msgspec.ValidationError, SchemaError)):
        msgspec.convert(hostile, Policy)


def test_what_equals_the_policy_is_left_out() -> None:
    assert policy_value(Policy(groups={"sqli": "block", "xss": "detect"})) == "block medium xss=detect"
    assert policy_value(Policy(exclusions=(Exclusion(path="/a;b@c"),))) == "block medium @/a%3Bb%40c@"
