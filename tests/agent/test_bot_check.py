"""The bot check with a real HAProxy: puzzles, passes, exemptions, and who cannot use them."""

import asyncio
import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import async_playwright

from lumos_agent.drivers import cli
from lumos_agent.guard import BotCheck, Guard, RateRule
from lumos_agent.schema import Snapshot, digest_of
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain
from tests.agent.visitor import Answer, origin, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    "Accept-Language: en",
)
CURL = ("User-Agent: curl/8.5.0", "Accept: */*")
PAGE_BYTES_MAX = 2048
CHROMIUM = ["--no-sandbox", "--host-resolver-rules=MAP d1.example 127.0.0.1"]
PROXIED = Traffic(trusted_proxies=("127.0.0.1/32",))


def checked(port: int, number: int = 1, *, rates: tuple[RateRule, ...] = (), **check: Any) -> Any:
    wanted = BotCheck(**{"mode": "always", "level": "low", **check})
    return domain(number, port=port, guard=Guard(bot_check=wanted, rates=rates), traffic=PROXIED)


async def visit(
    shield: Shield,
    *headers: str,
    address: str = "198.51.100.1",
    path: str = "/",
    host: str = "d1.example",
    body: bytes = b"",
) -> Answer:
    return await request(shield.port, host, path, f"X-Forwarded-For: {address}", *headers, body=body)


def zero_bits(text: str) -> int:
    return 256 - int.from_bytes(hashlib.sha256(text.encode()).digest()).bit_length()


def solution(page: str) -> str:
    """Return the cookie with which a browser solves a page's puzzle."""
    token = re.search(r'T="([^"]+)",B=(\d+)', page)
    assert token is not None, page
    counter = next(n for n in range(10_000_000) if zero_bits(f"{token[1]}.{n}") >= int(token[2]))
    return f"{token[1]}.{counter}"


def pass_of(answer: Answer) -> str:
    """Return the pass that an answer sets; `Answer` keeps the last of equal headers."""
    return answer.headers["set-cookie"].partition(";")[0]


async def solved(shield: Shield, *, address: str = "198.51.100.1", host: str = "d1.example") -> str:
    """Solve a puzzle and return the cookie line of the pass."""
    page = await visit(shield, *BROWSER, address=address, host=host)
    assert page.status == 403
    answer = await visit(shield, *BROWSER, f"Cookie: lumos_solved={solution(page.text)}", address=address, host=host)
    assert answer.status == 200
    return f"Cookie: {pass_of(answer)}"


async def test_browser_that_solves_the_puzzle_passes(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port)))
        page = await visit(shield, *BROWSER)
        assert page.status == 403
        assert len(page.body) < PAGE_BYTES_MAX
        assert page.headers["cache-control"] == "no-store"
        assert "<noscript>" in page.text
        cookie = await solved(shield)
        assert [(await visit(shield, *BROWSER, cookie)).status for _ in range(3)] == [200, 200, 200]
        assert (await visit(shield, *BROWSER, cookie, body=b"posted")).status == 200
        key = shield.state.check_key.read_text()
        assert key not in page.text + cookie
        assert oct(shield.state.check_key.stat().st_mode)[-3:] == "600"


async def test_real_browser_passes_by_itself(shield: Shield) -> None:
    async with origin(b"the site itself") as port, async_playwright() as playwright:
        await shield.applier.apply(config(1, checked(port)))
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page, problems = await browser.new_page(), []
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(f"http://d1.example:{shield.port}/a?b=c#d")
        await page.wait_for_selector("text=the site itself")
        assert page.url.endswith("/a?b=c#d")
        cookies = {cookie.get("name"): cookie for cookie in await page.context.cookies()}
        assert (list(cookies), problems) == (["lumos_pass"], [])
        assert cookies["lumos_pass"].get("httpOnly") is True
        answer = await page.goto(f"http://d1.example:{shield.port}/next")
        assert answer is not None
        assert answer.status == 200
        await browser.close()


async def test_account_switch_checks_every_domain_without_a_reload(shield: Shield) -> None:
    async with origin() as port:
        plain, own = domain(port=port, traffic=PROXIED), checked(port, 2, mode="off", exempt_paths=("/api",))
        await shield.applier.apply(config(1, plain, own))
        message = config(2, plain, own)
        data = msgspec.structs.replace(Snapshot.decode(message.snapshot), under_attack=True).encode()
        wanted = msgspec.structs.replace(message, snapshot=msgspec.Raw(data), digest=digest_of(data))
        assert (await shield.applier.apply(wanted)).how == "runtime"
        for host in ("d1.example", "d2.example"):
            assert (await visit(shield, *BROWSER, host=host)).status == 403
        assert (await visit(shield, *CURL, host="d2.example", path="/api")).status == 200


async def test_programs_get_words_and_no_page(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port)))
        for headers, body in ((CURL, b""), (BROWSER, b"a=b")):
            answer = await visit(shield, *headers, body=body)
            assert (answer.status, answer.headers["content-type"]) == (403, "text/plain")
            assert "<" not in answer.text
        assert {(event.action, event.rules) for event in await shield.told(2)} == {("challenge", ("bot-check",))}


async def test_pass_holds_for_one_visitor_of_one_host(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port), checked(port, 2)))
        cookie = await solved(shield)
        assert (await visit(shield, *BROWSER, cookie, address="198.51.100.200")).status == 200  # the same /24
        assert (await visit(shield, *BROWSER, cookie, address="198.51.101.1")).status == 403
        assert (await visit(shield, *BROWSER, cookie, host="d2.example")).status == 403
        other = [BROWSER[0].replace("140", "141"), *BROWSER[1:]]
        assert (await visit(shield, *other, cookie)).status == 403
        v6 = await solved(shield, address="2001:db8:1:2::1")
        assert (await visit(shield, *BROWSER, v6, address="2001:db8:1:2::ffff")).status == 200
        assert (await visit(shield, *BROWSER, v6, address="2001:db8:1:3::1")).status == 403


async def test_forged_and_expired_passes_are_worth_nothing(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port)))
        cookie = await solved(shield)
        name, _, value = cookie.partition("=")
        until, _, signature = value.partition(".")
        later = f"{int(until, 16) + 1000:x}"
        forged = [f"{later}.{signature}", f"{until}.{'0' * len(signature)}", f"{until}.", ".", "", "zz.zz", "1" * 4000]
        for text in forged:
            assert (await visit(shield, *BROWSER, f"{name}={text}")).status == 403, text
        engine = next(shield.state.engine.glob("*.lua"))
        engine.write_text(engine.read_text().replace("PASS_SECONDS = 3600", "PASS_SECONDS = 4"))
        await shield.applier.apply(config(2, checked(port), domain(3, port=port)))
        brief = await solved(shield)
        assert (await visit(shield, *BROWSER, brief)).status == 200
        async with asyncio.timeout(60):
            while (await visit(shield, *BROWSER, brief)).status != 403:
                await asyncio.sleep(0.1)
        assert (await visit(shield, *BROWSER, cookie)).status == 200  # the key is the same after a reload


async def test_puzzle_is_spent_once_and_for_its_visitor(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port)))
        page = (await visit(shield, *BROWSER)).text
        answer = solution(page)
        line = f"Cookie: lumos_solved={answer}"
        assert (await visit(shield, *BROWSER, line, address="192.0.2.1")).status == 403
        head, _, counter = answer.rpartition(".")
        easy = f"08{head[2:]}.{counter}"
        wrong = f"{head}.{int(counter) + 1}"
        for text in (easy, wrong, head, f"{answer}0", "x.1", "." * 50):
            assert (await visit(shield, *BROWSER, f"Cookie: lumos_solved={text}")).status == 403, text
        assert (await visit(shield, *BROWSER, line)).status == 200
        assert (await visit(shield, *BROWSER, line)).status == 403


async def test_switches_need_no_reload(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, traffic=PROXIED)))
        steps: list[tuple[dict[str, Any], int]] = [
            ({"mode": "always"}, 403),
            ({"mode": "suspicious"}, 200),
            ({"mode": "off", "under_attack": True}, 403),
            ({"mode": "off"}, 200),
        ]
        for revision, (check, status) in enumerate(steps, start=2):
            assert (await shield.applier.apply(config(revision, checked(port, **check)))).how == "runtime"
            assert (await visit(shield, *BROWSER)).status == status


async def test_suspicious_mode_asks_programs(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port, mode="suspicious")))
        assert (await visit(shield, *BROWSER)).status == 200
        for headers in (CURL, ("User-Agent: python-requests/2.31", *BROWSER[1:]), BROWSER[:2], ()):
            assert (await visit(shield, *headers)).status == 403


async def test_exemptions(shield: Shield) -> None:
    exempt: dict[str, Any] = {
        "exempt_paths": ("/api",),
        "exempt_methods": ("OPTIONS",),
        "token_headers": ("X-Api-Key",),
    }
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port, **exempt)))
        assert (await visit(shield, *CURL, path="/api/x")).status == 200
        assert (await visit(shield, *CURL, path="/apix")).status == 403
        assert (await visit(shield, *CURL, path="/api/../x")).status == 403
        assert (await visit(shield, *CURL, "X-Api-Key: k")).status == 200
        assert (await visit(shield, *CURL)).status == 403


async def test_rate_rule_that_challenges_lets_those_pass_who_passed(shield: Shield) -> None:
    rule = RateRule(id="busy", requests=2, action="challenge")
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port, mode="off", rates=(rule,))))
        assert [(await visit(shield, *BROWSER)).status for _ in range(3)] == [200, 200, 403]
        cookie = await solved(shield)
        assert (await visit(shield, *BROWSER, cookie)).status == 200


async def test_crowd_that_fails_costs_bounded_memory(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, checked(port)))
        await crowd(shield.port, 2_000, 0)
        before = memory_kib(shield)
        refused = await crowd(shield.port, 50_000, 2_000)
        assert refused == 50_000
        assert memory_kib(shield) - before < 16 * 1024
        answer = await cli.ask(shield.state.worker_socket, ["show table counters/spent"])
        assert "used:0" in answer


def memory_kib(shield: Shield) -> int:
    """Return the resident memory of the worker."""
    master = shield.haproxy.master()
    assert master is not None
    children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
    status = Path(f"/proc/{children[-1]}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def crowd(port: int, count: int, first: int, *, host: str = "d1.example") -> int:
    """Send one request from each of `count` addresses over few connections; returns how many were refused."""
    text = "\r\n".join(("GET / HTTP/1.1", f"Host: {host}", *BROWSER, "X-Forwarded-For: "))

    async def some(numbers: range) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        refused = 0
        for n in numbers:
            writer.write(f"{text}10.{n >> 16}.{n >> 8 & 255}.{n & 255}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            refused += b" 403 " in head[:20]
        writer.close()
        return refused

    parts = [range(first + start, first + count, 20) for start in range(20)]
    return sum(await asyncio.gather(*map(some, parts)))
