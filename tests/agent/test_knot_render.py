"""Whatever the door accepts, Knot accepts too and serves exactly that; and nothing of it becomes anything else."""

import random
import socket
from collections.abc import AsyncIterator

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domains.rdata import canonical_data, canonical_owner
from lumos.errors import AppError
from lumos_agent.render.knot import KnotOptions, render, rendered_zone
from lumos_agent.render.knot_sets import answered
from lumos_agent.zone import Proxied, Record
from tests.agent.zones import RunningKnot, country_database, nameserver, proxied, record, snapshot_of, without, zone

OPTIONS = KnotOptions(listen=("127.0.0.1:53",), root="/r", keys="/k", socket="/r/s", log="/r/log", database="/r/c.mmdb")
HOSTILE = st.text(
    st.sampled_from("ab019.\"\\;()@$*_- \n\t\r\0\x7fäß€{}[]#:|&%'`") | st.characters(codec="utf-8"), max_size=40
)
KINDS = ("A", "AAAA", "CNAME", "MX", "TXT", "NS", "SRV", "CAA")


def accepted(kind: str, owner: str, data: str) -> Record | None:
    """Return the record if the door takes it."""
    try:
        name, said = canonical_owner(owner, "example.com"), canonical_data(kind, data, "example.com")
    except AppError:
        return None
    return record(name, kind, said)


@given(kind=st.sampled_from(KINDS), owner=HOSTILE, data=HOSTILE)
@settings(max_examples=400)
def test_a_record_is_one_line_of_the_zone_file_and_quoted_in_views(kind: str, owner: str, data: str) -> None:
    for text in (data, f"10 {data}", f"0 issue {data}", f'"{data}"', f"1 2 3 {data}"):
        if (found := accepted(kind, owner, text)) is None:
            continue
        part = zone(found, record("geo", "A", "192.0.2.1"), record("geo", "A", "192.0.2.2", place="country:DE"))
        files = render([rendered_zone(part, {}, {}, has_database=True)], OPTIONS)
        lines = files["zones/example.com.zone"].decode().splitlines()
        assert len(lines) == 5 - ((found.owner, found.kind, found.data) == ("geo", "A", "192.0.2.1"))
        for name, content in files.items():
            for line in content.decode().splitlines():
                if name.startswith("geo/") and ": " in line.strip("- "):
                    value = line.split(": ", 1)[1].replace('\\"', "")
                    assert value.startswith('"')
                    assert value.endswith('"')
                    assert value.count('"') == 2


@given(st.data())
@settings(max_examples=200)
def test_a_proxied_name_never_has_nothing_and_never_what_is_down_while_others_work(data: st.DataObject) -> None:
    addresses = [f"192.0.2.{n}" for n in range(data.draw(st.integers(1, 5)))]
    made: Proxied = proxied("@", *addresses, answer=data.draw(st.sampled_from(("all", "first"))))
    down = frozenset(data.draw(st.sets(st.sampled_from(addresses))))
    part = without(made, down)
    found = [a.address for a in answered(part)]
    assert found
    assert not down.intersection(found) or down == set(addresses)
    if part.answer == "first":
        assert found == [next((a for a in addresses if a not in down), addresses[0])]


@pytest.fixture
async def knot() -> AsyncIterator[RunningKnot]:
    async with nameserver() as made:
        yield made


HOSTILE_TEXTS = (
    "a\" \"b", "; DROP", "$INCLUDE /etc/passwd", "x\\", "\\010", "(", ")", "@", "ü€😀", "'", "`id`", "x" * 255, "y" * 256,
    "z" * 4000, "  lead", "\\\\\"", "- geo: \"*\"", "#", "{}", "[1,2]", "|", "%s", "", "\\000", '"a" "b;c"', '"\\007"',
    '1 . alpn="h2,h3" ipv4hint=192.0.2.9', '"\\# 4 C0000209"', '"\\\\# 4 C0000209"', "IN HTTPS 1 . alpn=h2",
)  # fmt: skip


@pytest.mark.integration
async def test_hostile_texts_are_served_exactly_as_entered_with_and_without_places(knot: RunningKnot) -> None:
    country_database(knot.database, {"127.0.1.0/24": ("DE", "EU")})
    texts = [found for text in HOSTILE_TEXTS if (found := accepted("TXT", "@", text)) is not None]
    assert len(texts) == len(HOSTILE_TEXTS)
    plain = [record(f"t{n}", "TXT", found.data) for n, found in enumerate(texts)]
    views = [record(f"g{n}", "TXT", found.data) for n, found in enumerate(texts)]
    views += [record(f"g{n}", "A", f"192.0.2.{n}") for n in range(len(texts))]
    views += [record(f"g{n}", "A", f"198.51.100.{n}", place="country:DE") for n in range(len(texts))]
    await knot.serve(zone(*plain, *views))
    for number, found in enumerate(texts):
        for name in ("t", "g"):
            for source in ("127.0.0.1", "127.0.1.1"):
                served = await knot.answers(f"{name}{number}.example.com", "TXT", source=source, tcp=True)
                assert served == [found.data], HOSTILE_TEXTS[number]
    assert await knot.answers("g3.example.com", source="127.0.1.1") == ["198.51.100.3"]


@pytest.mark.integration
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.tuples(st.sampled_from(KINDS), HOSTILE, HOSTILE), min_size=30, max_size=30))
async def test_knot_accepts_what_the_door_accepts(values: list[tuple[str, str, str]]) -> None:
    extras = [("CAA", "c", "0 issue x"), ("TXT", "*.t", "a;b"), ("MX", "@", "0 ."), ("SRV", "_sip._tcp", "1 2 3 @")]
    found: dict[tuple[str, str], Record] = {}
    for number, (kind, owner, data) in enumerate([*extras, *values]):
        text = {"MX": f"{number} ", "CAA": "0 issue ", "SRV": "1 2 3 "}.get(kind, "") + data if number > 3 else data
        if (taken := accepted(kind, owner, text)) is not None:
            found.setdefault((taken.owner, "" if kind in ("CNAME", "NS") else "x"), taken)
    names = {owner for owner, kind in found if not kind}
    records = [taken for (owner, kind), taken in found.items() if not kind or not any(
        owner == name or owner.endswith(f".{name}") for name in names)]  # fmt: skip
    records = [taken for taken in records if not (taken.owner == "@" and taken.kind == "CNAME")]
    cuts = {taken.owner for taken in records if taken.kind == "NS" and taken.owner != "@"}
    records = [r for r in records if r.owner in cuts or not any(r.owner.endswith(f".{cut}") for cut in cuts)]
    async with nameserver() as made:
        await made.knot.check(snapshot_of(zone(*records)))


@pytest.mark.integration
async def test_answers_to_one_network_are_limited(knot: RunningKnot) -> None:
    """Spoofed sources are answered rarely and briefly; loopback is exempt, so the exemption is taken away here."""
    await knot.serve(zone(record("big", "TXT", '"' + "x" * 250 + '"')))
    conf = knot.state.root / "knot" / "knot.conf"
    conf.write_text(conf.read_text().replace('    whitelist: ["127.0.0.0/8", "::1"]\n', ""))
    await knot.knot.control.reload()
    question = dns.message.make_query("big.example.com", "TXT", use_edns=0).to_wire()
    sent, cut, whole, octets = 2000, 0, 0, 0
    with socket.socket(type=socket.SOCK_DGRAM) as flood:
        flood.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        flood.connect(("127.0.0.1", knot.port))
        for _ in range(sent):
            flood.send(question)
        flood.settimeout(2)
        try:
            while True:
                answer = flood.recv(4096)
                octets += len(answer)
                is_cut = bool(dns.message.from_wire(answer, ignore_trailing=True).flags & dns.flags.TC)
                cut, whole = cut + is_cut, whole + (not is_cut)
        except TimeoutError:
            pass
    assert 0 < whole < sent / 2
    assert cut > 0
    assert octets < sent * len(question) * 3


@pytest.mark.integration
async def test_garbage_does_no_harm(knot: RunningKnot) -> None:
    country_database(knot.database, {"192.0.2.0/24": ("DE", "EU")})
    await knot.serve(zone(record("www", "A", "192.0.2.1"), record("www", "A", "192.0.2.2", place="country:DE")))
    before, rng = knot.knot.process(), random.Random(7)
    options = [dns.edns.ECSOption("192.0.2.0", 24), dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")]
    good = dns.message.make_query("www.example.com", "A", use_edns=0, options=options).to_wire()
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        for number in range(3000):
            data = bytearray(good if number % 2 else rng.randbytes(rng.randrange(0, 600)))
            for _ in range(rng.randrange(0, 8)):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
            udp.sendto(bytes(data), ("127.0.0.1", knot.port))
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", knot.port), timeout=20) as tcp:
            tcp.send(rng.randbytes(rng.randrange(1, 2000)))
    assert await knot.answers("www.example.com") == ["192.0.2.1"]
    assert knot.knot.process() == before
