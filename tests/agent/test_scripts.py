"""The customer's own Lua in a real HAProxy."""

import asyncio
import os
from pathlib import Path

import pytest

from lumos_agent.counters import parse_info
from lumos_agent.drivers import cli
from lumos_agent.protocol import Config
from lumos_agent.schema import Policy, Script
from tests.agent.builders import Shield, config, domain
from tests.agent.script_attacks import ATTACKS, DOORS, LIMITS
from tests.agent.script_cases import CASES, Case
from tests.agent.visitor import Answer, origin, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"
# Of the worker, after every attack.
MEMORY_BYTES_MAX = 128 * 1024 * 1024
OFF = Policy(mode="off")


def on(source: str, fails: str = "open") -> Script:
    return Script(mode="on", fails=fails, source=source)  # type: ignore[arg-type]


def resident_bytes(pid: str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_script_answers_blocks_and_changes_without_a_reload(shield: Shield) -> None:
    async with origin() as port:
        first = await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=on("ngx.exit(403)"))))
        assert first.how == "reload"
        assert (await request(shield.port, HOST)).status == 403
        event = (await shield.told())[0]
        assert (event.action, event.rules) == ("block", ("script",))
        source = 'ngx.header["X-One"] = "1" ngx.status = 418 ngx.say("tea for ", ngx.var.remote_addr) ngx.exit(418)'
        second = await shield.applier.apply(config(2, domain(port=port, policy=OFF, script=on(source))))
        assert second.how == "runtime", second.reason
        answer = await request(shield.port, HOST)
        assert (answer.status, answer.text, answer.headers["x-one"]) == (418, "tea for 127.0.0.1\n", "1")
        third = await shield.applier.apply(config(3, domain(port=port, policy=OFF)))
        assert (await request(shield.port, HOST)).status == 200, third


def differs(case: Case, answer: Answer, host: str) -> str:
    """Return what an answer has otherwise than it should, or ""."""
    text = answer.text.replace(host, "HOST")
    if answer.status != case.status:
        return f"status {answer.status}: {text[:200]}"
    if case.text is not None and text != case.text:
        return f"text {text!r}"
    missing = [part for part in case.parts if part not in text]
    missing += [
        name for name, value in case.answer.items() if answer.headers.get(name, "").replace(host, "HOST") != value
    ]
    return f"missing {missing}: {text!r} {answer.headers}" if missing else ""


async def test_scripts_do_what_nginx_users_expect(shield: Shield) -> None:
    wrong = {}
    async with origin() as port:
        sites = {
            name: domain(n, port=port, policy=OFF, script=on(c.source)) for n, (name, c) in enumerate(CASES.items())
        }
        await shield.applier.apply(config(1, *sites.values()))
        for name, case in CASES.items():
            host = sites[name].hostname
            for _ in range(case.times):
                answer = await request(shield.port, host, case.path, *case.headers, body=case.body)
            if difference := differs(case, answer, host):
                wrong[name] = difference
    assert wrong == {}
    assert len(CASES) >= 40


async def test_nobody_breaks_out(shield: Shield) -> None:
    """Every attack is stopped and told; no door is open; the worker is the same and no larger than before."""
    async with origin() as port:
        sites = {name: domain(n, port=port, policy=OFF, script=on(s)) for n, (name, s) in enumerate(ATTACKS.items(), 1)}
        doors = {name: domain(n, port=port, policy=OFF, script=on(s)) for n, (name, s) in enumerate(DOORS.items(), 500)}
        await shield.applier.apply(config(1, *sites.values(), *doors.values()))
        before = parse_info(await cli.ask(shield.state.worker_socket, ["show info"]))
        path = "/" + "a/../" * 200 + "?" + "b=1&" * 500
        for name, site in sites.items():
            answer = await request(shield.port, site.hostname, path)
            assert (answer.status, answer.text[:5]) == (200, "hello"), name
        for name, site in doors.items():
            for _ in range(4):
                answer = await request(shield.port, site.hostname)
                assert (answer.status, answer.text[:5]) == (200, "hello"), f"{name}: {answer.text}"
        told = {event.domain_id: event for event in await shield.told(len(ATTACKS))}
        for name, site in sites.items():
            assert told[site.id].rules == ("script-error",), name
            assert any(limit in told[site.id].matched for limit in LIMITS), f"{name}: {told[site.id].matched}"
        assert not told.keys() & {site.id for site in doors.values()}
        info = parse_info(await cli.ask(shield.state.worker_socket, ["show info"]))
        assert info["Pid"] == before["Pid"]
        assert resident_bytes(info["Pid"]) < MEMORY_BYTES_MAX


async def test_dictionaries_are_each_domains_own_and_count_exactly_on_all_threads(shield: Shield) -> None:
    source = on("ngx.print((ngx.shared.d:incr('n', 1, 0))) ngx.exit(200)")
    async with origin() as port:
        await shield.applier.apply(config(1, *(domain(n, port=port, policy=OFF, script=source) for n in (1, 2))))
        first = await asyncio.gather(*(request(shield.port, HOST) for _ in range(100)))
        assert sorted(int(answer.text) for answer in first) == list(range(1, 101))
        assert (await request(shield.port, "d2.example")).text == "1"


async def test_failing_closed_answers_500_and_tells_it_once(shield: Shield) -> None:
    async with origin() as port:
        script = on("local x = nil\nx.y = 1", "closed")
        await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=script)))
        assert [(await request(shield.port, HOST)).status for _ in range(10)] == [500] * 10
        found = await shield.told()
        assert (found[0].action, found[0].rules) == ("block", ("script-error",))
        assert found[0].matched == "script:2: attempt to index a nil value (local 'x')"
        # One for each thread at most.
        assert len(found) <= (os.cpu_count() or 1)


async def test_script_comes_after_all_other_checks(shield: Shield) -> None:
    answers = on("ngx.say('script') ngx.exit(200)")
    async with origin() as port:
        block = domain(1, port=port, policy=Policy(level="high"), script=answers)
        listed = domain(2, port=port, script=answers)
        await shield.applier.apply(config(1, block, listed, allow={2: ("127.0.0.0/8",)}))
        assert (await request(shield.port, HOST, "/?q=../../etc/passwd")).status == 403
        assert (await request(shield.port, HOST)).text == "script\n"
        assert (await request(shield.port, "d2.example")).text.startswith("hello")


@pytest.mark.parametrize(("after", "answer"), [("new", b"new body"), ("", b"hello")])
async def test_request_that_waits_while_its_script_goes_is_judged_as_things_are_then(
    shield: Shield, after: str, answer: bytes
) -> None:
    """Between reading which program it has and running it, a request waits for its body."""

    def wanted(revision: int, word: str, port: int) -> Config:
        own = on(f'ngx.req.read_body() ngx.print("{word} ", ngx.req.get_body_data()) ngx.exit(200)', "closed")
        other = domain(2, port=port, policy=OFF, script=on("ngx.exit(200)"))
        return config(revision, domain(port=port, policy=OFF, script=own if word else Script()), other)

    async with origin() as port:
        await shield.applier.apply(wanted(1, "old", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
        lines = ("POST / HTTP/1.1", f"Host: {HOST}", "Content-Length: 4", "Expect: 100-continue", "Connection: close")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await shield.applier.apply(wanted(2, after, port))).how == "runtime"
        writer.write(b"body")
        assert answer in await reader.read()
        writer.close()


async def test_change_of_a_large_script_is_one_moment_and_no_reload(shield: Shield) -> None:
    """Requests see the old program or the new one, whole, while it changes."""

    def script(number: int) -> Script:
        rows = ",".join(f'"{number}-{n:06d}"' for n in range(3000))
        return on(f"local rows = {{ {rows} }} ngx.print(rows[1], rows[3000]) ngx.exit(200)")

    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=script(0))))
        seen: list[str] = []
        is_over = asyncio.Event()

        async def visit() -> None:
            while not is_over.is_set():
                seen.append((await request(shield.port, HOST)).text)

        visitor = asyncio.create_task(visit())
        for number in range(1, 5):
            done = await shield.applier.apply(config(number + 1, domain(port=port, policy=OFF, script=script(number))))
            assert done.how == "runtime", done.reason
            assert (await request(shield.port, HOST)).text == f"{number}-000000{number}-002999"
        is_over.set()
        await visitor
    assert set(seen) <= {f"{number}-000000{number}-002999" for number in range(5)}


async def test_body_reaches_script_and_origin(shield: Shield) -> None:
    source = on("ngx.req.read_body() local b = ngx.req.get_body_data() ngx.req.set_header('X-Size', #b)")
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=source)))
        answer = await request(shield.port, HOST, "/", "Content-Type: application/octet-stream", body=b"\0" * 50_000)
        assert "x-size: 50000" in answer.text


async def test_connection_is_dropped(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=on("ngx.exit(444)"))))
        with pytest.raises(asyncio.IncompleteReadError):
            await request(shield.port, HOST)
        assert (await shield.told())[0].rules == ("script",)
