"""XML bodies: every rule finds its attack, and its honest look-alike passes the whole engine at level high."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lumos_agent.render.haproxy import lua_bundle

# rule -> an attack and a look-alike.
RULES: dict[str, tuple[str, str]] = {
    "xxe-external-entity": (
        '<!DOCTYPE a [<!ENTITY b SYSTEM "http://x.test/b">]><a>&b;</a>',
        "<a>an entity of the system, http://x.test/b</a>",
    ),
    "xxe-parameter-entity": ('<!DOCTYPE a [<!ENTITY % b "c"> %b;]><a/>', "<a>100 % b; c</a>"),
    "xxe-entity": (
        '<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>',
        '<!DOCTYPE svg [<!ENTITY ns_svg "http://www.w3.org/2000/svg">]><svg xmlns="http://www.w3.org/2000/svg"/>',
    ),
    "xxe-grammar": ("<!DOCTYPE a [<!ELEMENT a ANY><!ATTLIST a b CDATA 'c'>]><a/>", "<a>[an element, any]</a>"),
    "xxe-external-dtd": (
        '<!DOCTYPE a SYSTEM "http://x.test/a.dtd"><a/>',
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"><html/>',
    ),
    "xxe-include": (
        '<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="x.xml"/></a>',
        '<a xmlns:x="http://www.w3.org/1999/xhtml"><x:p>include</x:p></a>',
    ),
    "xxe-encoding": ('<?xml version="1.0" encoding="UTF-7"?><a/>', '<?xml version="1.0" encoding="UTF-8"?><a/>'),
    "xxe-no-document": ("count(/child::node())", '{"sent": "as XML"}'),
    "xxe-stylesheet-fetch": (
        '<t:stylesheet xmlns:t="http://www.w3.org/1999/XSL/Transform"><t:value-of select="document(\'/a.xml\')"/></t:stylesheet>',
        '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:import href="a.xsl"/><xsl:copy-of select="document(\'\')"/></xsl:stylesheet>',
    ),
    "xxe-stylesheet": (
        '<xsl:stylesheet version="1.0" xmlns:php="http://php.net/xsl"><xsl:template match="/"/></xsl:stylesheet>',
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:output method="text"/></xsl:stylesheet>',
    ),
    "xxe-schema": (
        '<a xsi:schemaLocation="http://x.test/a http://x.test/a.xsd"/>',
        '<a xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 http://maven.apache.org/xsd/maven-4.0.0.xsd"/>',
    ),
    "xxe-reference": ("<a><b>&secret;</b></a>", "<a><b>caf&eacute; &nbsp; &Omega; &#233; a&b <![CDATA[&secret;]]></b></a>"),
    "xxe-data-island": (
        '<b><?import namespace="x" implementation="http://x.test/a.htc"?></b>',
        "<b><?xml-stylesheet href='a.css'?></b>",
    ),
}  # fmt: skip

# A document type whose public name, or the rest of whose address, only looks published.
DISGUISED: dict[str, list[str | bytes]] = {
    "xxe-external-dtd": [
        '<!DOCTYPE a PUBLIC "//www.w3.org/" "http://x.test/a.dtd"><a/>',
        '<!DOCTYPE a SYSTEM "http://x.test/?http://www.w3.org/"><a/>',
    ],
    "xxe-external-entity": [
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///b">]><a/>'.encode("utf-16"),
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///b">]><a/>'.encode("utf-32-be"),
        '<!DOCTYPE a [%s<!ENTITY b SYSTEM "b">]><a/>' % ('<!ENTITY n "http://www.w3.org/n">' * 50),
        '<!DOCTYPE a [<!ENTITY &#98; SYSTEM "file:///b">]><a/>',
    ],
    "xxe-entity": ["<!DOCTYPE a [%s]><a/>" % ('<!ENTITY n "http://www.w3.org/n">' * 500)],
    "xxe-encoding": ['<?xml version="1.0"?><a/>'.encode("cp037"), '<?xml version="1.0" encoding="IBM037"?><a/>'],
    "xxe-no-document": ["5e-324", "&lt;a&gt;", '"}}</a>'],
}
HONEST = [
    "a=1&b=2",
    "\ufeff<a/>",
    " \n<a/>",
    "[1, 2]",
    '<?xml version="1.0" encoding="utf-16"?><a/>',
    '<?xml version="1.0" encoding="windows-1252"?><a/>',
    '<?xml version="1.0"?><methodCall><methodName>demo.sayHello</methodName><params></params></methodCall>',
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><a>R&amp;D</a></soap:Body></soap:Envelope>',
    "<feed><title>50% off; today</title><link href='https://x.test/?a=1&amp;b=2'/></feed>",
]

_RUNNER = """
core = { register_action = function() end, register_service = function() end }
Map = { new = function() end }
dofile(arg[1])
local engine, policy = require("engine"), require("policy")
local ids = {}
for _, rule in pairs(require("rules.xxe").rules) do ids[#ids + 1] = rule.id end
print(table.concat(ids, ","))
for hex in io.lines() do
  local body = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
  local request = { method = "POST", path = "/", query = "", headers = { { "content-type", "text/xml" } }, body = body }
  local verdict = engine.judge(request, policy.parse("block high"))
  print(verdict and table.concat(verdict.rules, ",") or "")
end
"""


def judged(tmp_path: Path, bodies: Sequence[str | bytes]) -> tuple[set[str], list[set[str]]]:
    """Return the ids of the class's rules, and what the engine objects to in each body."""
    (tmp_path / "waf.lua").write_text(lua_bundle())
    (tmp_path / "run.lua").write_text(_RUNNER)
    argv = ["lua5.3", str(tmp_path / "run.lua"), str(tmp_path / "waf.lua")]
    lines = "".join(f"{(body if isinstance(body, bytes) else body.encode()).hex()}\n" for body in bodies)
    done = subprocess.run(argv, input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ids, *found = done.stdout.split("\n")[:-1]
    return set(ids.split(",")), [{rule for rule in line.split(",") if rule} for line in found]


def test_every_rule_finds_its_attack(tmp_path: Path) -> None:
    ids, found = judged(tmp_path, [attack for attack, _ in RULES.values()])
    assert ids == set(RULES)
    assert {rule: hits for rule, hits in zip(RULES, found, strict=True) if rule not in hits} == {}


def test_disguises_are_seen_through(tmp_path: Path) -> None:
    wanted = [(rule, body) for rule, bodies in DISGUISED.items() for body in bodies]
    _, found = judged(tmp_path, [body for _, body in wanted])
    assert [(pair, hits) for pair, hits in zip(wanted, found, strict=True) if pair[0] not in hits] == []


def test_look_alikes_pass(tmp_path: Path) -> None:
    bodies = [honest for _, honest in RULES.values()] + HONEST
    _, found = judged(tmp_path, bodies)
    assert {body: hits for body, hits in zip(bodies, found, strict=True) if hits} == {}
