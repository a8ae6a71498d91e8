"""Zones on a real Knot DNS: what is answered, what changes, what survives."""

from collections.abc import AsyncIterator

import dns.edns
import dns.flags
import dns.rcode
import dns.rdatatype
import pytest
from msgspec import structs

from lumos_agent.config import Settings
from lumos_agent.doctor import diagnose
from lumos_agent.errors import ApplyError
from lumos_agent.zone import Address, Alias, Nameserver
from tests.agent.builders import ident
from tests.agent.zones import (
    RunningKnot,
    country_database,
    nameserver,
    proxied,
    record,
    snapshot_of,
    zone,
    zone_without,
)

pytestmark = pytest.mark.integration

GERMANY, FRANCE, AMERICA, NOWHERE = "127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.9.1"
COUNTRIES = {"127.0.1.0/24": ("DE", "EU"), "127.0.2.0/24": ("FR", "EU"), "127.0.3.0/24": ("US", "NA")}
PLACED = (
    record("www", "A", "192.0.2.1"),
    record("www", "A", "192.0.2.2", place="country:DE"),
    record("www", "A", "192.0.2.3", place="continent:EU"),
    record("www", "TXT", '"a;\\"b\\\\ \\000c"'),
)


@pytest.fixture
async def knot() -> AsyncIterator[RunningKnot]:
    async with nameserver() as made:
        yield made


async def test_every_type_is_answered_as_it_was_entered(knot: RunningKnot) -> None:
    given = {
        "A": "192.0.2.1", "AAAA": "2001:db8::1", "MX": "10 mail.example.net.", "SRV": "10 5 5060 sip.example.net.",
        "TXT": '"v=spf1 -all" "' + "x" * 255 + '"', "CAA": '0 issue "letsencrypt.org; a=b"',
    }  # fmt: skip
    records = [record("all", kind, data) for kind, data in given.items()]
    await knot.serve(
        zone(*records, record("name", "CNAME", "all.example.com."), record("sub", "NS", "ns.example.net."))
    )
    for kind, data in given.items():
        assert await knot.answers("all.example.com", kind) == [data]
    assert await knot.answers("name.example.com", "AAAA") == sorted(["all.example.com.", "2001:db8::1"])
    assert await knot.answers("example.com", "NS") == ["ns1.example.com."]
    assert await knot.answers("ns1.example.com") == ["192.0.2.53"]
    delegation = await knot.ask("deep.sub.example.com")
    assert not delegation.flags & dns.flags.AA
    assert [rrset.to_text() for rrset in delegation.authority] == ["sub.example.com. 60 IN NS ns.example.net."]


async def test_names_types_and_zones_that_are_not_there(knot: RunningKnot) -> None:
    await knot.serve(zone(record("www", "A", "192.0.2.1")))
    nobody, nodata, foreign = (
        await knot.ask("nobody.example.com"), await knot.ask("www.example.com", "TXT"), await knot.ask("example.org")
    )  # fmt: skip
    assert (nobody.rcode(), nodata.rcode(), foreign.rcode()) == (
        dns.rcode.NXDOMAIN, dns.rcode.NOERROR, dns.rcode.REFUSED,
    )  # fmt: skip
    for answer in (nobody, nodata):
        assert [rrset.rdtype for rrset in answer.authority] == [dns.rdatatype.SOA]
        assert answer.authority[0].ttl == 300
        assert not answer.answer
    assert not foreign.authority


async def test_wildcard_answers_for_names_that_are_not_there_only(knot: RunningKnot) -> None:
    await knot.serve(zone(record("*", "A", "192.0.2.9"), record("www", "A", "192.0.2.1")))
    assert await knot.answers("anything.example.com") == ["192.0.2.9"]
    assert await knot.answers("www.example.com") == ["192.0.2.1"]


async def test_large_answers_are_cut_and_whole_over_tcp(knot: RunningKnot) -> None:
    texts = [f'"{number:03d}{"x" * 200}"' for number in range(10)]
    await knot.serve(zone(*[record("big", "TXT", text) for text in texts]))
    cut = await knot.ask("big.example.com", "TXT")
    assert cut.flags & dns.flags.TC
    assert len(cut.to_wire()) < 1232
    assert await knot.answers("big.example.com", "TXT", tcp=True) == texts


async def test_any_gets_one_set_of_records(knot: RunningKnot) -> None:
    await knot.serve(zone(record("www", "A", "192.0.2.1"), record("www", "TXT", '"' + "x" * 250 + '"')))
    answer = await knot.ask("www.example.com", "ANY")
    assert len(answer.answer) == 1
    assert len(answer.to_wire()) < 100


async def test_country_goes_before_continent_and_both_before_the_rest(knot: RunningKnot) -> None:
    country_database(knot.database, COUNTRIES)
    await knot.serve(zone(*PLACED))
    found = [await knot.answers("www.example.com", source=at) for at in (GERMANY, FRANCE, AMERICA, NOWHERE)]
    assert found == [["192.0.2.2"], ["192.0.2.3"], ["192.0.2.1"], ["192.0.2.1"]]
    for client in (GERMANY, FRANCE, AMERICA, NOWHERE):
        assert await knot.answers("www.example.com", "TXT", source=client) == ['"a;\\"b\\\\ \\000c"']
        assert not (await knot.ask("www.example.com", "MX", source=client)).answer


async def test_client_subnet_decides_and_the_scope_is_that_of_the_database(knot: RunningKnot) -> None:
    country_database(knot.database, {"198.51.100.0/22": ("DE", "EU"), "203.0.113.0/24": ("US", "NA")})
    await knot.serve(zone(*PLACED, record("plain", "A", "192.0.2.7")))
    for subnet, data, scope in (
        ("198.51.100.0/24", "192.0.2.2", 22),
        ("203.0.113.0/24", "192.0.2.1", 24),
    ):
        answer = await knot.ask("www.example.com", subnet=subnet)
        assert [item.to_text() for rrset in answer.answer for item in rrset] == [data]
        (option,) = [option for option in answer.options if isinstance(option, dns.edns.ECSOption)]
        assert (option.srclen, option.scopelen) == (24, scope)
    answer = await knot.ask("plain.example.com", subnet="198.51.100.0/24")
    assert [option.scopelen for option in answer.options if isinstance(option, dns.edns.ECSOption)] == [0]


async def test_without_a_database_everybody_gets_what_is_for_everybody(knot: RunningKnot) -> None:
    await knot.serve(zone(*PLACED))
    assert await knot.answers("www.example.com", source=GERMANY) == ["192.0.2.1"]


async def test_newer_and_broken_databases_are_taken_while_it_runs(knot: RunningKnot) -> None:
    served = zone(*PLACED)
    country_database(knot.database, COUNTRIES)
    await knot.serve(served)
    before = knot.knot.process()
    country_database(knot.database, {"127.0.1.0/24": ("US", "NA"), "127.0.3.0/24": ("DE", "EU")})
    assert await knot.serve(served) == ""
    assert knot.knot.refresh_database()
    assert await knot.serve(served)
    assert await knot.answers("www.example.com", source=AMERICA) == ["192.0.2.2"]
    assert not knot.knot.refresh_database()
    knot.database.write_bytes(b"nonsense")
    assert knot.knot.refresh_database()
    await knot.serve(served)
    assert await knot.answers("www.example.com", source=AMERICA) == ["192.0.2.1"]
    assert knot.knot.process() == before


async def test_weights_share_the_answers(knot: RunningKnot) -> None:
    records = (record("w", "A", "192.0.2.1", weight=1), record("w", "A", "192.0.2.2", weight=3))
    await knot.serve(zone(*records, record("w", "AAAA", "2001:db8::1"), record("w", "TXT", '"t"')))
    found = [await knot.answers("w.example.com") for _ in range(400)]
    assert all(len(answer) == 1 for answer in found)
    assert 250 <= found.count(["192.0.2.2"]) <= 350  # 300 ± 5.8 standard deviations
    assert await knot.answers("w.example.com", "AAAA") == ["2001:db8::1"]
    assert await knot.answers("w.example.com", "TXT") == ['"t"']


@pytest.mark.parametrize("signed", [False, True])
async def test_weights_leave_a_wildcard_to_the_names_that_are_not_there(knot: RunningKnot, signed: bool) -> None:
    weighted = [record("w", "A", f"192.0.2.{n}", weight=n) for n in (1, 3)]
    apex = [record("@", "A", f"192.0.2.{n}", weight=n) for n in (5, 6)]
    wildcards = (record("*", "A", "192.0.2.9"), record("*", "TXT", '"any"'))
    await knot.serve(zone(*weighted, *apex, *wildcards, record("plain", "A", "192.0.2.7"), signed=signed))
    for name in ("nobody", "deep.nobody", "*"):
        assert await knot.answers(f"{name}.example.com") == ["192.0.2.9"]
        assert await knot.answers(f"{name}.example.com", "TXT") == ['"any"']
    for name, known in (("w", {"192.0.2.1", "192.0.2.3"}), ("@", {"192.0.2.5", "192.0.2.6"})):
        asked = "example.com" if name == "@" else f"{name}.example.com"
        found = [await knot.answers(asked) for _ in range(10)]
        assert all(len(answer) == 1 for answer in found)
        assert {data for (data,) in found} <= known
        assert await knot.answers(asked, "TXT") == []
    assert await knot.answers("plain.example.com") == ["192.0.2.7"]
    assert (await knot.ask("below.w.example.com")).rcode() == dns.rcode.NXDOMAIN


async def test_shields_share_the_answers_by_weight_while_they_work(knot: RunningKnot) -> None:
    weighted = tuple(
        Address(address=f"192.0.2.5{n}", server=ident(100 + n), weight=weight) for n, weight in enumerate((1, 3))
    )
    served = zone(proxied=(structs.replace(proxied("@"), addresses=weighted),))
    await knot.serve(served)
    found = [await knot.answers("example.com") for _ in range(200)]
    assert 110 <= found.count(["192.0.2.51"]) <= 190  # 150 ± 6.5 standard deviations
    assert found.count(["192.0.2.50"]) == 200 - found.count(["192.0.2.51"])
    await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.51"})))
    assert {tuple(await knot.answers("example.com")) for _ in range(20)} == {("192.0.2.50",)}


async def test_proxied_name_answers_with_shields_that_work_and_never_with_nothing(knot: RunningKnot) -> None:
    served = zone(proxied=(proxied("@", "192.0.2.50", "192.0.2.51", "2001:db8::50"), proxied("one", "192.0.2.50", "192.0.2.51", answer="first")))  # fmt: skip
    await knot.serve(served)
    assert await knot.answers("example.com") == ["192.0.2.50", "192.0.2.51"]
    assert await knot.answers("example.com", "AAAA") == ["2001:db8::50"]
    assert await knot.answers("one.example.com") == ["192.0.2.50"]
    assert await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.50"})))
    assert await knot.answers("example.com") == ["192.0.2.51"]
    assert await knot.answers("one.example.com") == ["192.0.2.51"]
    await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.50", "192.0.2.51", "2001:db8::50"})))
    assert await knot.answers("example.com") == ["192.0.2.50", "192.0.2.51"]
    assert await knot.answers("one.example.com") == ["192.0.2.50"]


async def test_place_whose_shields_are_down_gets_what_everybody_gets(knot: RunningKnot) -> None:
    country_database(knot.database, COUNTRIES)
    near = Address(address="192.0.2.50", server=ident(100), place="continent:EU")
    far = Address(address="192.0.2.51", server=ident(101), place="continent:NA")
    served = zone(proxied=(structs.replace(proxied("@"), addresses=(near, far)),))
    await knot.serve(served)
    assert await knot.answers("example.com", source=FRANCE) == ["192.0.2.50"]
    assert await knot.answers("example.com", source=NOWHERE) == ["192.0.2.50", "192.0.2.51"]
    await knot.knot.apply(snapshot_of(zone_without(served, {"192.0.2.50"})))
    assert await knot.answers("example.com", source=FRANCE) == ["192.0.2.51"]
    assert await knot.answers("example.com", "SOA", source=FRANCE) == await knot.answers("example.com", "SOA")


async def test_alias_answers_with_what_the_shield_found(knot: RunningKnot) -> None:
    served = zone(
        record("@", "MX", "10 mail.example.net."), aliases=(Alias(owner="@", ttl=60, target="shop.example.net."),)
    )
    await knot.serve(served)
    assert await knot.answers("example.com") == []
    assert knot.knot.use_resolved({"shop.example.net.": ("203.0.113.1", "2001:db8::1")})
    await knot.knot.apply(snapshot_of(served))
    assert await knot.answers("example.com") == ["203.0.113.1"]
    assert await knot.answers("example.com", "AAAA") == ["2001:db8::1"]


async def test_change_of_one_zone_leaves_the_process_and_the_others_alone(knot: RunningKnot) -> None:
    other = zone(record("www", "A", "192.0.2.1"), name="example.net", number=2)
    assert await knot.serve(zone(record("www", "A", "192.0.2.1")), other) == "started"
    before = knot.knot.process()
    assert await knot.serve(zone(record("www", "A", "192.0.2.2"), serial=2), other) == "1 zone read again"
    assert await knot.serve(zone(record("www", "A", "192.0.2.2"), serial=2), other) == ""
    assert await knot.answers("www.example.com") == ["192.0.2.2"]
    assert await knot.serve(other)
    assert (await knot.ask("www.example.com")).rcode() == dns.rcode.REFUSED
    assert knot.knot.process() == before


async def test_zone_that_knot_refuses_changes_nothing(knot: RunningKnot) -> None:
    good = zone(record("www", "A", "192.0.2.1"))
    await knot.serve(good)
    bad = zone(record("www", "A", "192.0.2.1"), record("www", "CNAME", "x.example.com."), serial=2)
    with pytest.raises(ApplyError) as refused:
        await knot.serve(bad)
    assert refused.value.stage == "check"
    assert "www.example.com" in str(refused.value)
    assert await knot.serve(good) == ""
    assert await knot.answers("www.example.com") == ["192.0.2.1"]


async def test_agent_that_starts_again_finds_it_running_and_brings_a_dead_one_back(knot: RunningKnot) -> None:
    served = zone(record("www", "A", "192.0.2.1"))
    await knot.serve(served)
    before = knot.knot.process()
    knot.knot = knot.again()
    assert await knot.serve(served) == ""
    assert knot.knot.process() == before
    await knot.knot.stop()
    knot.knot = knot.again()
    assert await knot.serve(served) == "started"
    assert await knot.answers("www.example.com") == ["192.0.2.1"]


async def test_doctor_tells_that_knot_does_not_run(knot: RunningKnot) -> None:
    knot.state.save_settings(Settings(gateway_url="ws://127.0.0.1:1/agent/v1", dns=(f"127.0.0.1:{knot.port}",)))

    async def found() -> tuple[str, str]:
        finding = next(finding for finding in await diagnose(knot.state) if finding.check == "zones")
        return finding.result, finding.detail.partition(":")[0]

    assert await found() == ("ok", "none")
    await knot.serve(zone(record("www", "A", "192.0.2.1")))
    assert await found() == ("ok", "Knot DNS runs")
    await knot.knot.stop()
    assert await found() == ("fail", "Knot DNS does not run")


async def test_what_a_crash_interrupted_is_done_again(knot: RunningKnot, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = zone(record("www", "A", "192.0.2.1")), zone(record("www", "A", "192.0.2.2"), serial=2)
    await knot.serve(first)

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(knot.knot), "_tell", killed)
        with pytest.raises(KeyboardInterrupt):
            await knot.serve(second)
    knot.knot = knot.again()
    assert await knot.serve(first)
    assert await knot.answers("www.example.com") == ["192.0.2.1"]
    assert await knot.answers("example.com", "SOA") == [
        "ns1.example.com. hostmaster.example.com. 1 3600 600 1209600 300"
    ]


async def test_nameservers_of_one_zone_have_the_same_serial(knot: RunningKnot) -> None:
    both = tuple(Nameserver(server=ident(n), number=n, addresses=(f"192.0.2.{n}",)) for n in (1, 2))
    served = structs.replace(zone(serial=42), nameservers=both)
    async with nameserver() as other:
        await knot.serve(served)
        await other.serve(served)
        assert await knot.answers("example.com", "SOA") == await other.answers("example.com", "SOA")
        assert await other.answers("example.com", "NS") == ["ns1.example.com.", "ns2.example.com."]
