"""How long visitors waited: counts in buckets, from the lines of a real HAProxy."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from lumos_agent.counters import answered_after
from lumos_agent.protocol import BatchAck
from lumos_agent.render import haproxy as rendering
from lumos_agent.timings import LONGER, SAMPLED, Timings, add_timings, bucket_of
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import get, origin


def line(times: str, backend: str = f"d-{ident(1)}", action: str = "-") -> bytes:
    return f"answer 7 5 {backend} 200 10 20/{times} {action} r1 1800.5 - -\n".encode()


@pytest.mark.parametrize(
    ("milliseconds", "bound"), [(0, 1), (1, 1), (2, 2), (4, 5), (60_000, 60_000), (60_001, LONGER)]
)
def test_buckets_end_at_their_bounds(milliseconds: int, bound: int) -> None:
    assert bucket_of(milliseconds) == bound


def test_lines_add_up_and_those_without_an_origin_are_left_out() -> None:
    found: Timings = {}
    told = (line("1/2/1/-"), line("0/0/4/-", f"d-{ident(1)}-r2"), line("0/0/90000/-"), line(f"0/0/40/{SAMPLED}"))
    untold = (line("-1/-1/-1/-"), line("0/0/-1/-"), line("0/0/5/-", "probe"), b"answer 7 5 d-x 200 1 2 - r2 7300.5 -\n")
    add_timings(b"".join(told + untold), found)
    add_timings(line("0/0/5/-", f"d-{ident(2)}"), found)
    assert found == {ident(1): Counter({5: 2, LONGER: 1, 50: SAMPLED}), ident(2): Counter({5: 1})}


def test_samples_complete_no_counters() -> None:
    counted = answered_after(line("0/0/1/-") + line(f"0/0/1/{SAMPLED}") + line("-1/-1/-1/-", action="block"), "7", 1)
    assert counted[ident(1)] == (20, 40, 1, 0, 2, 0, 0, 0, 0)


@pytest.mark.integration
@pytest.mark.parametrize(("logged_per_second", "sampled"), [(2000, SAMPLED), (0, 1)])
async def test_a_shield_tells_how_long_origins_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged_per_second: int, sampled: int
) -> None:
    monkeypatch.setattr(rendering, "ANSWERS_LOGGED_PER_SECOND", logged_per_second)
    monkeypatch.setattr(rendering, "SAMPLED", sampled)
    shield = Shield.new(tmp_path / "shield")
    async with origin(delay_seconds=0.2) as slow, asyncio.timeout(30):
        deny = {2: ("127.0.0.1/32",)}
        await shield.applier.apply(config(1, domain(1, port=slow), domain(2, port=slow), deny=deny))
        answers = await asyncio.gather(
            *(get(shield.port, "d1.example") for _ in range(3)), get(shield.port, "d2.example")
        )
        assert [status for status, _ in answers] == [200, 200, 200, 403]
        told: Counter[int] = Counter()
        while told.total() < 3:
            await shield.metrics.collect()
            while (batch := shield.metrics.first_waiting) is not None:
                shield.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
                for part in batch.traffic:
                    assert part.domain_id == ident(1) or not part.timings
                    told.update(part.timings)
            await asyncio.sleep(0.02)
        await shield.stop()
    assert told.total() == 3
    assert all(bound == LONGER or bound >= 200 for bound in told)
