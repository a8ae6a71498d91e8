"""Attacks: a verdict over samples, and a shield that answers one by itself."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from lumos_agent.attack import CALM_SECONDS, LEARNING_SECONDS, ON_SECONDS, Sample, Watch, after
from lumos_agent.challenged import Challenged, challenged_in
from lumos_agent.escalation import Watched
from lumos_agent.guard import BotCheck, Guard
from lumos_agent.protocol import Attack, BatchAck
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.test_bot_check import BROWSER, crowd
from tests.agent.visitor import origin, request

Served = tuple[float, float, dict[str, int]]  # for how many seconds, requests per second, other counts per second
KNOWN = Watch(normal=10.0, learned=900.0)
HOUR = 3600.0


def seconds_of(phases: Iterable[Served], step: float) -> Iterable[Sample]:
    for length, rate, others in phases:
        for _ in range(round(length / step)):
            counts = {name: round(count * step) for name, count in others.items()}
            yield Sample(seconds=step, requests=round(rate * step), **counts)


def attacks_in(
    phases: Iterable[Served],
    known: Watch = KNOWN,
    *,
    step: float = 1.0,
    is_checked: bool = True,
    restarts: bool = False,
) -> list[tuple[str, float, float]]:
    """Return (reason, began, ended or 0) of each attack that is seen; times count from the first sample."""
    watch, now = known, 0.0
    found: list[tuple[str, float, float]] = []
    for sample in seconds_of(phases, step):
        now += sample.seconds
        before, watch = watch, after(watch, sample, now, is_checked=is_checked)
        if restarts:
            watch = msgspec.json.decode(msgspec.json.encode(watch), type=Watch)
        if watch.attack and not before.attack:
            found.append((watch.attack.reason, watch.attack.began, 0.0))
        elif before.attack and not watch.attack:
            found[-1] = (*found[-1][:2], now)
    return found


FLOOD: Served = (60, 500, {"stopped": 490})
GROWTH: list[Served] = [(60, 10 * 1.08**minute, {}) for minute in range(60)]


@pytest.mark.parametrize(
    ("phases", "known", "reasons"),
    [
        pytest.param([(60, 10, {}), FLOOD], KNOWN, ["requests"], id="jump"),
        pytest.param(GROWTH, KNOWN, [], id="a hundred times more within an hour"),
        pytest.param([(60, 10, {}), (1, 5000, {}), (60, 10, {})], KNOWN, [], id="one burst of a second"),
        pytest.param([(1, 500, {}), (59, 10, {})] * 10, KNOWN, [], id="a burst every minute"),
        pytest.param([(1, 500, {}), (1, 10, {})] * 15, KNOWN, ["requests"], id="bursts without end"),
        pytest.param([(300, 0.01, {}), (1, 3, {}), (300, 0, {})], Watch(learned=900.0), [], id="three requests"),
        pytest.param([(60, 0, {}), FLOOD], Watch(learned=900.0), ["requests"], id="flood on a quiet site"),
        pytest.param([(60, 19, {})], Watch(normal=0.1, learned=900.0), [], id="too little to overload anything"),
        pytest.param([FLOOD], Watch(), [], id="nobody knows what is normal yet"),
        pytest.param([(LEARNING_SECONDS, 1, {}), FLOOD], Watch(), ["requests"], id="learned"),
        pytest.param([FLOOD, (60, 10, {})] * 5, KNOWN, ["requests"], id="waves are one attack"),
        pytest.param([(300, 10, {"errors": 10})], KNOWN, [], id="an origin that is down"),
        pytest.param([(60, 30, {"errors": 25})], KNOWN, ["errors"], id="errors beside more requests"),
        pytest.param([(60, 30, {"challenged": 20, "stopped": 20})], KNOWN, ["challenges"], id="many fail the check"),
        pytest.param([(60, 12, {"challenged": 12, "stopped": 12})], KNOWN, [], id="usual traffic that is checked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("restarts", [False, True])
def test_verdict(phases: list[Served], known: Watch, reasons: list[str], *, restarts: bool) -> None:
    assert [reason for reason, _, _ in attacks_in(phases, known, restarts=restarts)] == reasons


def test_attack_ends_after_calm_and_not_too_soon() -> None:
    [(_, began, ended)] = attacks_in([(10, 10, {}), (20, 500, {"stopped": 500}), (HOUR, 10, {})])
    assert began == 10
    assert ended - began == ON_SECONDS
    [(_, began, ended)] = attacks_in([(10, 10, {}), (600, 500, {"stopped": 500}), (HOUR, 10, {})])
    assert ended - 610 == CALM_SECONDS


def test_crowd_that_passes_the_check_becomes_normal() -> None:
    crowd_of_people: Served = (HOUR, 100, {"stopped": 5})
    [(_, began, ended)] = attacks_in([(10, 10, {}), crowd_of_people])
    assert ended - began == ON_SECONDS
    [(_, began, ended)] = attacks_in([(10, 10, {}), crowd_of_people, crowd_of_people], is_checked=False)
    assert ended - began > HOUR
    assert attacks_in([(10, 10, {}), (3 * HOUR, 500, {"stopped": 490})])[-1][2] == 0


def test_looks_may_be_far_apart() -> None:
    assert len(attacks_in([(100, 10, {}), (100, 500, {}), (HOUR, 10, {})], step=20.0)) == 1
    assert attacks_in([(100, 10, {}), (20, 60, {}), (100, 10, {})], step=20.0) == []


def test_challenges_are_found_in_the_log() -> None:
    head = b"answer 7 1 d-x 403 1 2 challenge r1 1.5 %s 192.0.2.7  Ym90  R0VU ZQ== Lw==  %s \n"
    lines = head % (ident(1).encode(), b"Y3VybA==") + head.replace(b"challenge", b"block") % (ident(1).encode(), b"")
    assert list(challenged_in(lines + head % (ident(2).encode(), b""))) == [
        Challenged(ident(1), "192.0.2.7", "curl"),
        Challenged(ident(2), "192.0.2.7", ""),
    ]


def watched(port: int, number: int, escalation: Any) -> Any:
    check = BotCheck(level="low", escalation=escalation)
    traffic = Traffic(trusted_proxies=("127.0.0.1/32",))
    return domain(number, port=port, guard=Guard(bot_check=check), traffic=traffic)


async def news(shield: Shield) -> list[Attack]:
    """Return what waiting batches tell of attacks, and take them for delivered."""
    await shield.metrics.collect()
    found: list[Attack] = []
    while (batch := shield.metrics.first_waiting) is not None:
        found += batch.attacks
        shield.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
    return found


async def status(shield: Shield, number: int = 1) -> int:
    return (await request(shield.port, f"d{number}.example", "/", *BROWSER)).status


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_shield_answers_an_attack_and_returns_by_itself(shield: Shield) -> None:
    known = Watched(domains={ident(1): Watch(normal=1, learned=900), ident(2): Watch(normal=1, learned=900)})
    shield.state.watches_file.write_bytes(msgspec.json.encode(known))
    response, clock = shield.response(), 1000.0

    async def look(seconds: float, *, requests: int = 0) -> None:
        nonlocal clock
        for number in (1, 2) if requests else ():
            await crowd(shield.port, requests, 0, host=f"d{number}.example")
        await shield.metrics.collect()
        clock += seconds
        await response.look(clock=clock, now=1_700_000_000 + clock)

    async with origin() as port:
        await shield.applier.apply(config(1, watched(port, 1, "auto"), watched(port, 2, "off")))
        await shield.workers.attach()
        await look(1)
        worker = (await shield.workers.attach()).key
        for _ in range(5):
            assert await status(shield) == 200
            await look(1, requests=100)
        assert (await status(shield), await status(shield, 2)) == (403, 200)
        first, second = sorted(await news(shield), key=lambda attack: attack.domain_id)
        assert (first.domain_id, first.reason, first.ended, first.is_checked) == (ident(1), "requests", 0, True)
        assert first.requests_per_second >= 100
        assert (second.domain_id, second.is_checked) == (ident(2), False)
        response = shield.response()  # the agent dies and comes back, without its control plane
        await shield.applier.repair()
        await look(1)
        assert await status(shield) == 403
        for _ in range(4):  # what is turned away counts, so the attack lasts while it comes
            await look(100, requests=2_100)
        assert await status(shield) == 403
        for _ in range(400):
            await look(1)
        assert await status(shield) == 200
        told: list[Attack] = []
        async with asyncio.timeout(10):
            while {attack.domain_id for attack in told if attack.ended} < {ident(1), ident(2)}:
                told += await news(shield)
        assert {attack.began for attack in told} == {first.began, second.began}
        assert (await shield.workers.attach()).key == worker
