"""Custom rules: mistakes have a place, and the shield decides as a reference in Python does."""

import asyncio
import ipaddress
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumos_agent import conditions, regex
from lumos_agent.conditions import Comparison, Condition, ConditionError, Joined, Not
from lumos_agent.geo import Geo, Needs
from lumos_agent.guard import Guard, RateRule
from lumos_agent.protocol import Applied, BatchAck
from lumos_agent.schema import CustomRule, Policy
from lumos_agent.waf_try import Sample, dry_run
from tests.agent.builders import Shield, config, domain, ident, snapshot
from tests.agent.test_bot_check import pass_of, solution
from tests.agent.test_places import country, database
from tests.agent.visitor import get, origin, request


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "col 1: a comparison begins with one of"),
        ('path eq "/a" and', "col 17: a comparison begins with"),
        ('path like "/a"', "col 6: one of eq, ne,"),
        ('path eq "/a', "col 9: this text has no closing quote"),
        ('(path eq "/a"', "col 14: the closing ) is missing"),
        ('path eq "/a" path eq "/b"', "col 14: “and” or “or” is missing"),
        ('ip eq "192.0.2.0/24"', "col 7: an address such as"),
        ('ip in_cidr {"192.0.2.0/24" "x"}', "col 28: a network such as"),
        ('ip contains "1"', "col 4: one of eq, ne, in, in_cidr"),
        ('header eq "x"', "col 8: [ with a name"),
        ('header["a b"] eq "x"', "col 8: a name has"),
        ('path matches "a(b"', "col 16: this ( has no )"),
        ('path matches "(?=a)"', "col 15: look-around"),
        ('path matches "(a)\\1"', "col 18: after \\"),
        ('path matches "a{1,60}"', "col 16: a repetition counts"),
        ('path matches "((a{50}){50})"', "too large"),
        ('country eq "Germany"', "col 12: a country is a code"),
        ('country contains "D"', "col 9: one of eq, ne, in is"),
        ('asn in {"AS64500", "AS0"}', "col 20: an autonomous system is a number"),
        ('path eq ""', "col 9: a text has 1 to 256"),
        ("path eq 7", "col 9: “7” has no place here"),
        ("(" * 30, "nest at most"),
        ("not " * 30 + 'path eq "/"', "nest at most"),
        (f"ip in {{{' '.join(chr(34) + f'2001:db8::{n:x}' + chr(34) for n in range(100))}}}", "too large for a shield"),
        (" or ".join(['path eq "/"'] * 51), "at most 50 comparisons"),
    ],
)
def test_mistakes_are_named_with_their_column(text: str, message: str) -> None:
    with pytest.raises(ConditionError, match=re.escape(message)):
        conditions.parsed(text)


def test_precedence_and_canonical_values() -> None:
    found = conditions.parsed('not path eq "/A" and ip in_cidr "192.0.2.7/24" or method in {"get", "PUT"}')
    assert found == Joined(
        "or",
        (
            Joined(
                "and", (Not(Comparison("path", "", "eq", ("/a",))), Comparison("ip", "", "in_cidr", ("192.0.2.0/24",)))
            ),
            Comparison("method", "", "in", ("get", "put")),
        ),
    )


def test_places_have_one_form() -> None:
    found = conditions.parsed('country in {"de", "AT"} and asn ne "as64500"')
    places = Comparison("country", "", "in", ("de", "at")), Comparison("asn", "", "ne", ("64500",))
    assert found == Joined("and", places)
    assert conditions.places_read(['path eq "/country"', 'asn eq "1"']) == {"asn"}


def reference(condition: Condition, sample: Sample) -> bool:
    """Decide as the shield must, plainly."""
    if isinstance(condition, Not):
        return not reference(condition.part, sample)
    if isinstance(condition, Joined):
        return (all if condition.how == "and" else any)(reference(part, sample) for part in condition.parts)
    values = condition.values
    if condition.field == "ip":
        is_in = any(ipaddress.ip_address(sample.client) in ipaddress.ip_network(value) for value in values)
        return is_in != (condition.operator == "ne")
    text = str(getattr(sample, condition.field, "")).lower()
    return {
        "eq": lambda: text in values,
        "in": lambda: text in values,
        "ne": lambda: text not in values,
        "contains": lambda: values[0] in text,
        "starts_with": lambda: text.startswith(values[0]),
        "ends_with": lambda: text.endswith(values[0]),
        "matches": lambda: re.search(values[0].encode(), text.encode(), re.IGNORECASE) is not None,
    }[condition.operator]()


_LETTERS = st.text("abcA/-.", min_size=1, max_size=4)
_ATOMS = st.sampled_from(["a", "b", ".", "[a-c]", "[^a]", "\\d", "\\w", "/", "(?:ab|c)", "(a|b)", "^a", "c$", "B"])
_PATTERNS = st.lists(
    st.tuples(_ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{1,}"])), min_size=1, max_size=4
)
_REGEXES = _PATTERNS.map(lambda parts: "".join(a + (r if a[0] != "^" and a[-1] != "$" else "") for a, r in parts))
_ADDRESSES = st.one_of(
    st.integers(0xC0000200, 0xC00002FF).map(lambda n: str(ipaddress.IPv4Address(n))),
    st.integers(0, 0xFFFFFF).map(lambda n: str(ipaddress.IPv6Address((0x20010DB8 << 96) + (n << 40)))),
)
_NETWORKS = st.tuples(_ADDRESSES, st.integers(0, 32)).map(
    lambda pair: str(ipaddress.ip_network(f"{pair[0]}/{pair[1] * (1 if '.' in pair[0] else 4)}", strict=False))
)
_SET = st.lists(_LETTERS, min_size=1, max_size=3).map(lambda texts: "{" + ", ".join(f'"{t}"' for t in texts) + "}")
_TEXT_TESTS = st.tuples(
    st.sampled_from(["host", "user_agent", "method"]),
    st.one_of(
        st.tuples(st.sampled_from(["eq", "ne", "contains", "starts_with", "ends_with"]), _LETTERS.map('"{}"'.format)),
        st.tuples(st.just("in"), _SET),
        st.tuples(st.just("matches"), _REGEXES.map('"{}"'.format)),
    ),
).map(lambda test: f"{test[0]} {test[1][0]} {test[1][1]}")
_ADDRESS_TESTS = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), _ADDRESSES).map(lambda test: f'ip {test[0]} "{test[1]}"'),
    st.lists(_NETWORKS, min_size=1, max_size=3).map(lambda n: "ip in_cidr {" + " ".join(f'"{x}"' for x in n) + "}"),
)
_PLACE_TESTS = st.tuples(
    st.sampled_from(["eq", "ne", "in"]), st.sampled_from(['country {} "DE"', 'asn {} "AS64500"', 'asn {} "7"'])
).map(lambda test: test[1].format(test[0]))
_EXPRESSIONS = st.recursive(
    _TEXT_TESTS | _ADDRESS_TESTS | _PLACE_TESTS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} {t[2]}"),
    ),
    max_leaves=6,
)
_SAMPLES = st.builds(
    Sample,
    client=_ADDRESSES, method=_LETTERS, path=st.just("/"), query=st.just(""), host=st.text("abcA/-", max_size=6), user_agent=st.text("abcA/-. 1", max_size=8),
    country=st.sampled_from(["", "DE", "FR"]), asn=st.sampled_from(["", "64500", "7"]),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(_EXPRESSIONS, min_size=1, max_size=4), st.lists(_SAMPLES, min_size=1, max_size=8))
def test_shield_decides_as_the_reference(expressions: list[str], samples: list[Sample]) -> None:
    rules = tuple(CustomRule(id=ident(n), action="log", expression=text) for n, text in enumerate(expressions))
    wanted = [tuple(r.id for r in rules if reference(conditions.parsed(r.expression), sample)) for sample in samples]
    assert dry_run(rules, samples, 0) == wanted


def sample(**changes: str) -> Sample:
    values = {"client": "192.0.2.1", "method": "GET", "path": "/", "query": "", "host": "a", "user_agent": ""}
    return Sample(**(values | changes))


@pytest.mark.parametrize(
    ("expression", "request_part", "holds"),
    [
        ('path starts_with "/admin"', {"path": "/%61dmin"}, True),
        ('path starts_with "/admin"', {"path": "/x/..//./Admin;v=1/x"}, True),
        ('path starts_with "/admin/"', {"path": "/administrator"}, False),
        ('path eq "/a/"', {"path": "/a/"}, True),
        ('query contains "drop table"', {"query": "q=drop%2520table"}, True),
        ('host eq "a.example"', {"host": "A.Example.:8080"}, True),
        ('ip eq "192.0.2.1"', {"client": "::ffff:192.0.2.1"}, True),
        ('path matches "^/p/\\d{4}$"', {"path": "/p/2024"}, True),
        ('path matches "^/p/\\d{4}$"', {"path": "/p/20245"}, False),
        ('user_agent matches "ü+x"', {"user_agent": "aÜx"}, False),
        ('user_agent matches "ü+x"', {"user_agent": "üüx"}, True),
    ],
)
def test_encodings_hide_nothing(expression: str, request_part: dict[str, str], holds: bool) -> None:
    rules = (CustomRule(id=ident(1), action="log", expression=expression),)
    assert dry_run(rules, [sample(**request_part)], 0) == [(ident(1),) if holds else ()]


def test_first_rule_that_decides_ends_the_list_and_expired_ones_are_skipped() -> None:
    actions = (("log", 0), ("block", 5), ("allow", 0), ("block", 0))
    rules = tuple(
        CustomRule(id=ident(n), action=a, expression='path eq "/"', expires=e)  # type: ignore[arg-type]
        for n, (a, e) in enumerate(actions)
    )
    assert dry_run(rules, [sample()], 4) == [(ident(1), ident(0))]
    assert dry_run(rules, [sample()], 6) == [(ident(2), ident(0))]


@pytest.mark.parametrize(
    "pattern", ["(a*)*b", "(a|a)*b", "(a|aa)+$", "(.*)*(.*)*x", "a{0,50}a{0,50}b", "(a?){50}a{50}"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    try:
        rule = CustomRule(id=ident(1), action="log", expression=f'user_agent matches "{pattern}"')
    except ValueError:
        return
    # Without a bound on its steps each of these would run until long after the suite has been given up.
    dry_run((rule,), [sample(user_agent="a" * 4000)], 0)


def test_compiled_program_is_safe_in_a_map() -> None:
    text = 'path matches "[^;,@ ]+\\n" or header["x-a"] eq "a b;c,d@e%f" or query contains "ü"'
    assert re.fullmatch(r"[A-Za-z0-9 =,@%/._~!&|:+^*-]+", conditions.compiled(conditions.parsed(text)))
    assert regex.compiled("a") == "c97-97,m"


@pytest.mark.integration
async def test_rules_decide_on_the_shield(tmp_path: Path) -> None:
    rules = (
        CustomRule(id=ident(91), action="allow", expression='header["x-key"] eq "s3cret"'),
        CustomRule(
            id=ident(92), action="block", expression='path starts_with "/admin" and not ip in_cidr "192.0.2.0/24"'
        ),
        CustomRule(id=ident(93), action="block", expression='cookie["bad"] eq "1" or body contains "forbidden"'),
        CustomRule(id=ident(94), action="log", expression='user_agent contains "curl"'),
    )
    attack = "/?f=../../etc/passwd"
    shield = Shield.new(tmp_path)
    try:
        async with origin() as port:
            one, two = domain(1, port=port, policy=Policy(custom=rules)), domain(2, port=port)
            assert isinstance(await shield.applier.apply(config(1, one, two)), Applied)
            assert (await get(shield.port, "d1.example", "/%61dmin/x"))[0] == 403
            assert (await get(shield.port, "d2.example", "/admin/x"))[0] == 200
            assert (await get(shield.port, "d1.example", attack))[0] == 403
            assert (await get(shield.port, "d1.example", attack, "X-Key: s3cret"))[0] == 200
            assert (await get(shield.port, "d1.example", "/", "Cookie: a=b; bad=1"))[0] == 403
            assert (await request(shield.port, "d1.example", "/", body=b"x=this+is+Forbidden")).status == 403
            assert (await request(shield.port, "d1.example", "/", body=b"x=fine")).status == 200
            assert (await get(shield.port, "d1.example", "/", "User-Agent: curl/8"))[0] == 200
            told = await shield.told(5)
            assert (f"rule:{ident(92)}",) in [event.rules for event in told]
            assert [event.action for event in told if event.rules == (f"rule:{ident(94)}",)] == ["detect"]
            changed = domain(1, port=port, policy=Policy(custom=rules[1:2]))
            done = await shield.applier.apply(config(2, changed, two))
            assert isinstance(done, Applied)
            assert done.how == "runtime"
            assert (await get(shield.port, "d1.example", "/", "Cookie: bad=1"))[0] == 200
    finally:
        await shield.stop()


async def test_rules_challenge_and_limit_beside_the_guard(shield: Shield) -> None:
    browser = ("User-Agent: Mozilla/5.0 (X11) Firefox/140.0", "Accept: text/html", "Accept-Language: en")
    challenges = CustomRule(id=ident(95), action="challenge", expression='path starts_with "/shop"')
    limits = CustomRule(
        id=ident(96), action="limit", requests=2, window_seconds=60, expression='path starts_with "/search"'
    )
    async with origin() as port:
        plain = domain(1, port=port, policy=Policy(custom=(challenges, limits)))
        rated = Guard(rates=(RateRule(id="all", requests=4),))
        both = domain(2, port=port, policy=Policy(custom=(limits,)), guard=rated)
        await shield.applier.apply(config(1, plain, both))
        assert (await get(shield.port, "d1.example", "/", *browser))[0] == 200
        page = await request(shield.port, "d1.example", "/shop", *browser)
        assert page.status == 403
        cookie = f"Cookie: lumos_solved={solution(page.text)}"
        passed = await request(shield.port, "d1.example", "/shop", *browser, cookie)
        assert passed.status == 200
        line = f"Cookie: {pass_of(passed)}"
        assert (await request(shield.port, "d1.example", "/shop", *browser, line)).status == 200
        assert (await request(shield.port, "d1.example", "/shop?f=../../etc/passwd", *browser, line)).status == 403
        searches = [await request(shield.port, "d1.example", f"/search?q={n}") for n in range(3)]
        assert [answer.status for answer in searches] == [200, 200, 429]
        assert searches[-1].headers["retry-after"] == "60"
        assert (await get(shield.port, "d1.example", "/other"))[0] == 200
        found = [(await get(shield.port, "d2.example", path))[0] for path in ("/search", "/search", "/", "/", "/")]
        assert found == [200, 200, 200, 200, 429]
        told = {(event.action, event.rules) for event in await shield.told(4)}
        assert ("challenge", (f"rule:{ident(95)}",)) in told
        assert ("limit", (f"rule:{ident(96)}",)) in told


async def test_rules_for_places_work_where_there_is_a_database(shield: Shield) -> None:
    rules = (
        CustomRule(id=ident(97), action="block", expression='country in {"DE"} and path eq "/a"'),
        CustomRule(id=ident(98), action="block", expression='not asn eq "64501" and path eq "/b"'),
    )
    wanted = domain(1, policy=Policy(custom=rules))
    assert Needs.of(snapshot(wanted)) == Needs(countries=True, systems=True)
    geo = Geo(shield.state)
    async with origin() as port:
        await shield.applier.apply(config(1, msgspec.structs.replace(wanted, origins=domain(1, port=port).origins)))
        assert [(await get(shield.port, "d1.example", path))[0] for path in ("/a", "/b")] == [200, 200]
        database(shield.state.geo / "country.mmdb", {"127.0.0.0/8": country("DE")})
        database(shield.state.geo / "asn.mmdb", {"127.0.0.0/8": {"autonomous_system_number": 64500}})
        shield.applier.use_places(*await geo.update(Needs.of(shield.applier.snapshot())))
        await shield.applier.refresh()
        assert [(await get(shield.port, "d1.example", path))[0] for path in ("/a", "/b", "/")] == [403, 403, 200]
        database(shield.state.geo / "asn.mmdb", {"127.0.0.0/8": {"autonomous_system_number": 64501}})
        shield.applier.use_places(*await geo.update(Needs.of(shield.applier.snapshot())))
        await shield.applier.refresh()
        assert (await get(shield.port, "d1.example", "/b"))[0] == 200


async def test_hits_are_counted_whatever_the_rule_does(shield: Shield) -> None:
    rules = (
        CustomRule(id=ident(81), action="log", expression='query contains "x"'),
        CustomRule(id=ident(82), action="allow", expression='path eq "/allowed"'),
        CustomRule(id=ident(83), action="limit", requests=100, expression='path eq "/limited"'),
        CustomRule(id=ident(84), action="block", expression='path eq "/blocked"'),
    )
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port, policy=Policy(custom=rules))))
        await shield.workers.attach()
        for path, times in (("/allowed", 7), ("/limited", 5), ("/blocked", 3), ("/allowed?x", 2), ("/", 4)):
            for _ in range(times):
                await get(shield.port, "d1.example", path)
        wanted = {ident(81): 2, ident(82): 9, ident(83): 5, ident(84): 3}
        found: Counter[str] = Counter()
        async with asyncio.timeout(30):
            while sum(found.values()) < sum(wanted.values()):
                await get(shield.port, "d1.example")
                await shield.metrics.collect()
                while (batch := shield.metrics.first_waiting) is not None:
                    shield.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
                    found.update({hits.rule: hits.hits for hits in batch.hits})
                    assert not any(
                        event.path in ("/", "/allowed", "/limited") and not event.query for event in batch.events
                    )
                await asyncio.sleep(0.05)
        assert found == wanted
