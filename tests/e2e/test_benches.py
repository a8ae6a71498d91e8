"""Every benchmark runs to its end in small and prints the figures that the budgets name. What they are proves nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.network.hosts import needs_hosts

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("benches"), pytest.mark.timeout(300)]
BENCH = Path(__file__).resolve().parents[2] / "bench"
FILLED = "--servers 2 --domains 3 --days 9"
# One installs what bench/overhead compares with, the other does what tests/network/test_failover.py does as well.
LEFT_OUT = {"modsecurity", "failover"}


CASES = [
    ("agent", "--domains 1 3 --idle-seconds 1 --changes 1", "domains rss_mb idle_cpu_percent list_change_ms"),
    ("agents", "--agents 3", "agents connected_s kb_per_agent ack_s"),
    ("analytics", f"{FILLED} --visits 1", "rows p95_ms"),
    ("billing", "--accounts 200 --cycles 1", "accounts seconds"),
    ("dns", "--seconds 1 --rounds 1 --zones 3 --records 5", "ratio_bare answers_per_s"),
    pytest.param(
        "forwards",
        "--rounds 1 --seconds 1 --sessions 20",
        "tcp_ratio udp_ratio udp_answers_per_s",
        marks=needs_hosts,
    ),
    ("lists", "--entries 50 --changes 1 --requests 20", "entries load_s change_ms reloads"),
    ("overhead", "--rounds 1 --seconds 1", "ratio_get ratio_post cpu_us_per_request vs_modsecurity"),
    ("push", "--domains 1 2 --changes 2", "domains p50_ms p99_ms"),
    ("reload", "--applies 4 --mixed", "requests failed applies max_generations"),
    ("scripts", "--rounds 1 --seconds 1", ""),
    ("seed", f"{FILLED} --batches 3", ""),
]


@pytest.mark.parametrize(("name", "options", "figures"), CASES)
def test_benchmark_runs_and_prints_its_figures(name: str, options: str, figures: str) -> None:
    # None of the suite's own services: a benchmark has its own.
    env = {key: value for key, value in os.environ.items() if not key.startswith(("LUMOS_", "DATABASE_", "REDIS_"))}
    done = subprocess.run(
        [BENCH / name, *options.split(), "--json"], env=env, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.keys() >= set(figures.split())


def test_every_benchmark_is_run_here() -> None:
    run = {case.values[0] if isinstance(case, ParameterSet) else case[0] for case in CASES}
    programs = {path.name for path in BENCH.iterdir() if path.is_file() and not path.suffix}
    assert programs - LEFT_OUT == run
