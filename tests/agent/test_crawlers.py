"""Search engines: verified by reverse and forward DNS, and nobody who only says so."""

import asyncio
import struct
from pathlib import Path

import pytest

from lumos_agent import crawlers, dns
from lumos_agent.challenged import Challenged
from lumos_agent.crawlers import ENGINES, Crawlers, Engine, engine_of, is_verified
from lumos_agent.dns import NoAnswer, Resolver, system_servers
from tests.agent.builders import Shield, config, ident
from tests.agent.nameserver import encoded, nameserver, pointer
from tests.agent.test_bot_check import BROWSER, checked, visit
from tests.agent.visitor import origin

GOOGLE = "192.0.2.66"
LIAR = "198.51.100.9"
V6 = "2001:db8::66"
ZONE = {
    **pointer(GOOGLE, "crawl.googlebot.com"),
    **pointer(LIAR, "my.googlebot.com"),
    **pointer(V6, "x.search.msn.com"),
    **pointer("192.0.2.1", "x.notgooglebot.com"),
    **pointer("192.0.2.2", "googlebot.com.evil.example"),
    **pointer("192.0.2.3", "gone.googlebot.com"),
    **pointer("192.0.2.4", "silence"),
    ("crawl.googlebot.com", "A"): ["192.0.2.65", GOOGLE],
    ("my.googlebot.com", "A"): [GOOGLE],
    ("x.search.msn.com", "AAAA"): [V6],
    ("x.notgooglebot.com", "A"): ["192.0.2.1"],
    ("googlebot.com.evil.example", "A"): ["192.0.2.2"],
}
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.mark.parametrize(
    ("address", "engine", "expected"),
    [
        (GOOGLE, "googlebot", True),
        (V6, "bingbot", True),
        (GOOGLE, "bingbot", False),
        (LIAR, "googlebot", False),
        ("192.0.2.1", "googlebot", False),
        ("192.0.2.2", "googlebot", False),
        ("192.0.2.3", "googlebot", False),
        ("203.0.113.1", "googlebot", False),
    ],
)
async def test_verification(address: str, engine: str, expected: bool) -> None:
    async with nameserver(ZONE) as (port, _):
        assert await is_verified(address, ENGINES[engine], Resolver([("127.0.0.1", port)])) is expected


async def test_silence_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "SECONDS", 0.05)
    async with nameserver(ZONE) as (port, asked):
        with pytest.raises(NoAnswer):
            await is_verified("192.0.2.4", Engine((), ()), Resolver([("127.0.0.1", port)]))
        assert len(asked) == dns.TRIES


def test_engines_by_user_agent() -> None:
    assert engine_of(GOOGLEBOT) == "googlebot"
    assert engine_of("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)") == "yandex"
    assert engine_of("Mozilla/5.0 Firefox/140.0") is None
    words = [word for engine in ENGINES.values() for word in engine.words]
    assert not any(set(word) & set("+ %\t") for word in words)


def test_resolvers_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.53\n nameserver 2001:db8::53\n")
    assert system_servers(path) == (("192.0.2.53", 53), ("2001:db8::53", 53))
    assert system_servers(tmp_path / "none") == (("127.0.0.1", 53),)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\xc0\x0c",
        b"\xc0\xff" + struct.pack("!HHIH", 12, 1, 60, 2) + b"\xc0\x0c",
        b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, 2) + b"\xc0\x27",
        b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, 900) + b"\x90",
        b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, 9) + b"\x3f" + b"a" * 8,
    ],
)
def test_broken_answers_are_none(tail: bytes) -> None:
    question = b"\0\7" + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + encoded("x.example") + b"\0\x0c\0\1"
    answer = question[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question[12:] + tail
    with pytest.raises((ValueError, IndexError, struct.error)):
        dns.records_in(answer, question, "PTR")


def test_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crawlers, "VERIFIED_MAX", 3)
    monkeypatch.setattr(crawlers, "REFUSED_MAX", 3)
    found = Crawlers(Shield(tmp_path, 1).state, Resolver([]))
    found.suspect(Challenged(ident(1), f"10.0.{n >> 8}.{n & 255}", GOOGLEBOT) for n in range(5_000))
    assert found._waiting.qsize() == crawlers.WAITING_MAX
    for number in range(9):
        found._note(f"10.1.0.{number}", "googlebot", verified=True)
        found._note(f"10.2.0.{number}", "googlebot", verified=False)
    assert list(found._verified) == ["10.1.0.6", "10.1.0.7", "10.1.0.8"]
    assert len(found._refused) == 3


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_verified_crawler_needs_no_check_and_a_liar_does(shield: Shield) -> None:
    crawler = (f"User-Agent: {GOOGLEBOT}", "Accept: text/html")
    async with origin() as port, nameserver(ZONE) as (dns_port, asked):
        await shield.applier.apply(config(1, checked(port)))
        await shield.workers.attach()
        resolver = Resolver([("127.0.0.1", dns_port)])
        found = Crawlers(shield.state, resolver)
        response, job = shield.response(found.suspect), asyncio.create_task(found.run())

        async def status(address: str, *headers: str) -> int:
            answer = await visit(shield, *headers, address=address)
            await shield.metrics.collect()
            await response.look()
            return answer.status

        try:
            async with asyncio.timeout(30):
                assert await status(LIAR, *crawler) == 403
                while await status(GOOGLE, *crawler) == 403:
                    await asyncio.sleep(0.02)
                while "A my.googlebot.com" not in asked:
                    await asyncio.sleep(0.02)
            assert await status(GOOGLE, *BROWSER) == 403
            assert [await status(LIAR, *crawler) for _ in range(3)] == [403] * 3
            assert asked.count("A my.googlebot.com") == 1
        finally:
            job.cancel()
        served = shield.state.crawlers_map.read_text()
        assert served.startswith(f"{GOOGLE} googlebot+")
        assert LIAR not in served
        assert (await shield.applier.apply(config(2, checked(port), checked(port, 2)))).how == "reload"
        assert await status(GOOGLE, *crawler) == 200
        assert list(Crawlers(shield.state, resolver)._verified) == [GOOGLE]  # the agent comes back
