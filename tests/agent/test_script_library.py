"""The scripts' regular expressions and patterns against references, and what the compiler makes of real programs."""

import random
import re
import subprocess
from pathlib import Path

import pytest

import lumos_agent
from lumos_agent.script import ScriptError, compiled
from tests.agent.lua_script import quoted, run_lua

LUA_FILES = sorted((Path(lumos_agent.__file__).parent / "render/lua").rglob("*.lua"))


class Expressions:
    """Random regular expressions that PCRE and Python understand alike."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _atom(self, depth: int) -> str:
        pick = self._random.random()
        if pick < 0.5:
            return self._random.choice("abc")
        if pick < 0.6:
            return self._random.choice([".", "[ab]", "[^a]", "\\w", "\\d", "[a-c]"])
        if pick < 0.65:
            return self._random.choice(["\\b", "^", "$", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)"])
        return self._random.choice(["(", "(?:"]) + self.alternatives(depth - 1) + ")" if depth > 0 else "a"

    def _repeated(self, atom: str) -> str:
        if atom in ("\\b", "^", "$") or atom.startswith(("(?=", "(?!", "(?<")) or self._random.random() < 0.5:
            return atom
        return atom + self._random.choice(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,2}?", "{2,}"])

    def alternatives(self, depth: int) -> str:
        """Return an expression with groups of at most `depth`."""
        ways = range(self._random.choice([1, 1, 2, 3]))
        return "|".join(
            "".join(self._repeated(self._atom(depth)) for _ in range(self._random.randint(1, 4))) for _ in ways
        )

    def text(self) -> str:
        """Return a text that may match."""
        return "".join(self._random.choice("abcd1 ") for _ in range(self._random.randint(1, 12)))


def found_by_python(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.ASCII)
    if found is None:
        return "nil"
    return " ".join([f"{found.start() + 1}-{found.end()}", *("-" if g is None else f"<{g}>" for g in found.groups())])


def test_regular_expressions_match_as_python_says() -> None:
    made = Expressions(7)
    cases = [(made.alternatives(2), made.text()) for _ in range(400)]
    calls = "\n".join(f"look({quoted(pattern)}, {quoted(text)})" for pattern, text in cases)
    program = """
    local match, pcre = require("script.match"), require("script.pcre")
    function look(pattern, text)
      io.write(metered(function()
        local program = assert(pcre.compile(pattern, ""))
        local start, stop = match.find(program, text, 1)
        if not start then return "nil" end
        local parts, state = { start .. "-" .. stop - 1 }, program.state
        for index = 1, program.groups do
          local from = state.starts[index]
          parts[index + 1] = from and "<" .. string.sub(text, from, state.stops[index] - 1) .. ">" or "-"
        end
        return table.concat(parts, " ")
      end), "\\n")
    end
    """
    answers = run_lua(program + calls).splitlines()
    wrong = {
        case: answer
        for case, answer in zip(cases, answers, strict=True)
        if answer not in (found_by_python(*case), "over the limit")
    }
    assert wrong == {}
    assert answers.count("over the limit") < len(cases) / 50


def test_patterns_match_as_the_interpreters_own_do() -> None:
    """Every pattern takes the way of those that the interpreter could take long for."""
    maker = random.Random(3)
    classes = ["a", "b", ".", "%a", "%d", "[ab]", "[^a]", "%.", "[a-c1]", "[]]", "%w", "()"]
    cases = []
    for _ in range(300):
        parts = [
            one if one == "()" else one + maker.choice(["", "", "*", "+", "-", "?"])
            for one in (maker.choice(classes) for _ in range(maker.randint(1, 5)))
        ]
        parts.insert(maker.randint(0, len(parts)), maker.choice(["", "(a)", "(.-)", "%b()", "%f[%w]", "(b*)%1"]))
        pattern = maker.choice(["", "", "^"]) + "".join(parts) + maker.choice(["", "", "$"])
        if "%1" not in pattern or "()" not in pattern:
            cases.append((pattern, "".join(maker.choice("ab1.() ]") for _ in range(maker.randint(0, 12)))))
    program = """
    local patterns = require("script.patterns")
    local function all(...)
      local parts = table.pack(...)
      for index = 1, parts.n do parts[index] = tostring(parts[index]) end
      return table.concat(parts, ",")
    end
    local function words(library, text, pattern)
      local found = {}
      for one, two in library.gmatch(text, pattern) do found[#found + 1] = tostring(one) .. tostring(two) end
      return table.concat(found, ";")
    end
    function same(pattern, text)
      local function both(library)
        return table.concat({
          all(library.find(text, pattern)), all(library.match(text, pattern, 2)), all(library.gsub(text, pattern, "<%0>")),
          all(library.gsub(text, pattern, function(one) return one and "" end, 2)), words(library, text, pattern),
        }, "|")
      end
      local wanted, got = both(string), metered(both, patterns)
      if wanted ~= got then io.write(pattern, " on ", text, ": ", wanted, " but ", got, "\\n") end
    end
    """
    calls = "\n".join(f"same({quoted(pattern)}, {quoted(text)})" for pattern, text in cases)
    assert run_lua(program + calls, (("local NATIVE_STEPS = 20000", "local NATIVE_STEPS = -1"),)) == ""


@pytest.mark.parametrize("file", LUA_FILES, ids=lambda file: file.name)
def test_real_programs_stay_programs(file: Path) -> None:
    """What the compiler writes has the same words but the meters, each in its line."""
    source = file.read_text(encoding="utf-8")
    if len(source.encode()) > 64 * 1024:
        pytest.skip("longer than a script may be")
    text = compiled(source).text
    done = subprocess.run(["luac5.3", "-p", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    source = re.sub(r"\[\[.*?\]\]", lambda found: "\n" * found[0].count("\n"), source, flags=re.DOTALL)
    meters = re.compile(r"__t\(\d+\);")
    assert "__t(" in text
    for number, (before, after) in enumerate(zip(source.split("\n"), text.split("\n"), strict=False), 1):
        names = re.findall(r"[A-Za-z]\w*", before.partition("--")[0]) if '"' not in before and "'" not in before else []
        written = meters.sub("", after)
        assert all(name in written for name in names), f"line {number}: {names} not in {written}"


def test_joined_texts_and_values_are_what_they_were() -> None:
    source = """
    local function two() return "a", "b" end
    local t = setmetatable({}, { __concat = function(one, other) return type(one) .. type(other) end })
    local long = "" for i = 1, 3 do long = long .. i .. "," end
    return "x" .. 1 .. 2.5 .. two() .. "y" == "x12.5ay", t .. "s", "s" .. t, -2 ^ 2 .. "", not nil .. "x", long,
      ("a" .. "b"):rep(2), #("a" .. "bc"), 1 .. 2 == "12", { n = "k" .. 1 }.n, "many" .. 1 .. 2 .. 3 .. 4
    """.replace('{ n = "k" .. 1 }.n', "({ n = 'k' .. 1 }).n").replace('not nil .. "x"', "(not nil) == true")
    program = f"""
    local text = require("script.text")
    local program = load({quoted(compiled(source).text)}, "=script")(function() end, text.join)
    for _, value in ipairs({{ metered(program, {{ setmetatable = setmetatable, type = type }}) }}) do
      io.write(tostring(value), " ")
    end
    """
    wanted = "true tablestring stringtable -4 true 1,2,3, abab 3 true k1 many1234 "
    assert run_lua(program) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x", "line 1: expected “=”"),
        ("x = ", "line 1: expected a name, found the end of the script"),
        ("\n\nif a then\nelse", "line 4: expected “end” for the “if” of line 3"),
        ("f(", "line 1: expected a name, found the end of the script"),
        ("a = 'x\n'", "line 1: this string is not finished"),
        ("a = [[x", "line 1: there is no ]] for this [["),
        ("a = '\\q'", "no such escape"),
        ("a = 3x", "a number does not go on"),
        ("a = $", "unexpected character"),
        ("f() = 1", "expected a name, found ="),
        ("f(), a = 1", "expected a name, found ,"),
        ("local _ENV = {}", "the name _ENV is reserved"),
        ("__c = 1", "the name __c is reserved"),
        ("a = " + "(" * 60 + "1" + ")" * 60, "nested more than 50 deep"),
        ("a = " + " or ".join(["b == c"] * 300), "more than 200 comparisons"),
        ("-- " + "x" * 70_000, "at most 64 KB"),
        ("return 1 x = 2", "expected a statement"),
        ("a = { nil = 1 }", "the name of a field is a word"),
        ("local function f(a b) end", "expected “,”"),
    ],
)
def test_mistakes_are_named_with_their_line(source: str, message: str) -> None:
    with pytest.raises(ScriptError, match=re.escape(message)):
        compiled(source)


def test_every_loop_and_function_is_metered() -> None:
    loops = (
        "while a do end",
        "repeat until a",
        "for i = 1, 2 do end",
        "for k in f do end",
        "::a:: goto a",
        "function f() end",
    )
    for loop in loops:
        assert compiled(loop).text.count("__t(") >= 2, loop
    long_run = "\n".join(f"a{n} = b{n} + {n}" for n in range(1000))
    assert compiled(long_run).text.count("__t(") > 1000 * 5 / 60


def test_reading_the_body_is_seen() -> None:
    assert not compiled("ngx.exit(403)").reads_body
    for source in ("ngx.req.read_body()", "local b = ngx.var.request_body", 'f(ngx.req["get_body_data"])'):
        assert compiled(source).reads_body


DICTIONARIES = """
local dict = require("script.dict")
local function work(now, ...) return dict.work(now, "domain", "d", ...) end
local function told(...)
  local parts = table.pack(...)
  for index = 1, parts.n do parts[index] = tostring(parts[index]) end
  io.write(table.concat(parts, " "), "\\n")
end
"""


def test_dictionary_entries_expire() -> None:
    program = """
    work(100, "set", "k", "v", 10)
    told(work(109, "get", "k")) told(work(109, "ttl", "k")) told(work(110, "get", "k")) told(work(110, "get_stale", "k"))
    told(work(110, "add", "k", "new", 5)) told(work(111, "add", "k", "other")) told(work(115, "replace", "k", "x"))
    told(work(200, "incr", "n", 1, 0, 10)) told(work(205, "incr", "n", 2)) told(work(210, "incr", "n", 1, 0, 10))
    work(300, "set", "a", 1, 5) work(300, "set", "b", 1)
    told(work(301, "expire", "b", 2)) told(work(304, "get", "b")) told(work(306, "flush_expired", 0))
    told(work(306, "get_keys", 0)) told(work(400, "set", "z", nil))
    """
    assert run_lua(DICTIONARIES + program).splitlines() == [
        "v nil", "1", "nil", "v nil true", "true nil false", "false exists false", "false not found false", "1 nil false", "3",
        "1 nil false", "true", "nil", "4", "", "true nil false",
    ]  # fmt: skip


def test_dictionaries_are_bounded_and_forget_what_was_used_last() -> None:
    program = """
    local full = string.rep("x", 60000)
    for n = 1, 100 do
      work(1, "set", "k" .. n, full)
      work(1, "get", "k1")
    end
    told(work(1, "get", "k1") ~= nil, work(1, "get", "k100") ~= nil, work(1, "get", "k50"), work(1, "free_space") < 61000)
    told(work(1, "safe_set", "more", full)) told(select(3, work(1, "set", "more", full)))
    for n = 1, 20 do dict.work(1, "domain", "d" .. n, "set", "k", 1) end
    told(dict.work(1, "domain", "d20", "get", "k")) told(dict.work(1, "other", "d20", "get", "k"))
    work(1, "flush_all") told(work(1, "get_keys", 0) == "", work(1, "free_space") == dict.CAPACITY)
    """
    assert run_lua(DICTIONARIES + program).splitlines() == [
        "true true nil true", "false no memory false", "true", "nil a domain has at most 8 dictionaries", "nil", "true true",
    ]  # fmt: skip


def test_one_run_a_second_may_take_long_for_what_others_do() -> None:
    program = """
    local share = {}
    local function ran(now, seconds)
      local meter = limits.begin(share, now)
      if not meter then return print("refused") end
      meter.spent = seconds
      limits.finish(meter)
      print("ran")
    end
    ran(10, 0.02) ran(10.001, 0.00005) ran(10.5, 0.02) ran(10.501, 0.00005) ran(11.1, 0.00005) ran(11.2, 0.02)
    ran(11.201, 0.00005)
    """
    assert run_lua(program).splitlines() == ["ran", "ran", "ran", "refused", "ran", "ran", "ran"]
