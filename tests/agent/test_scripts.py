"""The customer's own Lua in a real HAProxy."""

import asyncio

import pytest

from lumos_agent.protocol import BatchAck, Event
from lumos_agent.schema import Policy, Script
from tests.agent.builders import Shield, config, domain
from tests.agent.script_cases import CASES, Case
from tests.agent.visitor import Answer, origin, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"
OFF = Policy(mode="off")


def on(source: str, fails: str = "open") -> Script:
    return Script(mode="on", fails=fails, source=source)  # type: ignore[arg-type]


async def events(shield: Shield, count: int = 1) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            await shield.metrics.collect()
            while (batch := shield.metrics.first_waiting) is not None:
                found += batch.events
                shield.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
            await asyncio.sleep(0.02)
    return found


async def test_script_answers_blocks_and_changes_without_a_reload(shield: Shield) -> None:
    async with origin() as port:
        first = await shield.applier.apply(config(1, domain(port=port, policy=OFF, script=on("ngx.exit(403)"))))
        assert first.how == "reload"
        assert (await request(shield.port, HOST)).status == 403
        event = (await events(shield))[0]
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
    missing += [name for name, value in case.answer.items() if answer.headers.get(name, "").replace(host, "HOST") != value]
    return f"missing {missing}: {text!r} {answer.headers}" if missing else ""


async def test_scripts_do_what_nginx_users_expect(shield: Shield) -> None:
    wrong = {}
    async with origin() as port:
        sites = {name: domain(n, port=port, policy=OFF, script=on(c.source)) for n, (name, c) in enumerate(CASES.items())}
        await shield.applier.apply(config(1, *sites.values()))
        for name, case in CASES.items():
            host = sites[name].hostname
            for _ in range(case.times):
                answer = await request(shield.port, host, case.path, *case.headers, body=case.body)
            if difference := differs(case, answer, host):
                wrong[name] = difference
    print("\n".join(f"@@ {k}: {v[:260]}" for k, v in wrong.items()))
    assert wrong == {}
    assert len(CASES) >= 40
