"""The shield with a real HAProxy: apply, lists, crashes, counters, events."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lumos_agent.counters import parse_info
from lumos_agent.drivers import cli
from lumos_agent.errors import ApplyError, HaproxyError
from lumos_agent.protocol import BatchAck, Config
from lumos_agent.render import haproxy as rendering
from lumos_agent.render import sites
from lumos_agent.schema import Domain, Origin, Policy, digest_of, listings
from lumos_agent.store import Store
from tests.agent.builders import TOKEN, Networks, Shield, config, domain, ident, snapshot
from tests.agent.visitor import get, origin

# A shield keeps its sockets open until its process ends; here many shields share one process.
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

STEPS = [
    "decode",
    "guard",
    "render",
    "daemons",
    "write",
    "check",
    "journal",
    "switch",
    "reload",
    "probe",
    "store",
    "done",
]


async def worker_pid(shield: Shield) -> int:
    return int(parse_info(await cli.ask(shield.state.worker_socket, ["show info"]))["Pid"])


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_domain_is_served_and_unknown_hosts_are_not(shield: Shield) -> None:
    async with origin() as port:
        done = await shield.applier.apply(config(1, domain(port=port)))
        assert done.how == "reload"
        status, answer = await get(
            shield.port, "D1.example.:80", "/x", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6"
        )
        assert status == 200
        assert "6.6.6.6" not in answer
        assert "x-forwarded-for: 127.0.0.1" in answer.lower()
        assert "x-forwarded-proto: http" in answer.lower()
        assert (await get(shield.port, "other.example"))[0] == 421


async def test_dead_origin_is_our_page_and_disturbs_nobody(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port), domain(2, port=9)))
        dead, alive = await asyncio.gather(get(shield.port, "d2.example"), get(shield.port, "d1.example"))
        assert dead[0] == 503
        assert "Site unavailable" in dead[1]
        assert alive[0] == 200


async def test_name_that_does_not_resolve_stops_nothing(shield: Shield) -> None:
    async with origin() as port:
        named = (Origin(id=ident(77), address="no-such-host.invalid", port=80),)
        await shield.applier.apply(config(1, domain(1, port=port), domain(2, origins=named)))
        assert (await get(shield.port, "d1.example"))[0] == 200
        assert (await get(shield.port, "d2.example"))[0] == 503


async def test_lists_change_at_run_time_and_disk_says_the_same(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port), domain(2, port=port)))
        pid = await worker_pid(shield)
        steps: list[tuple[dict[str, Networks], int]] = [
            ({"deny": {1: ("127.0.0.0/8",)}}, 403),
            ({"deny": {1: ("127.0.0.0/8",)}, "allow": {1: ("127.0.0.1/32",)}}, 200),
            ({"deny": {1: ("127.0.0.1/32",)}}, 403),
            ({}, 200),
        ]
        for revision, (lists, expected) in enumerate(steps, start=2):
            wanted = config(revision, domain(port=port), domain(2, port=port), **lists)  # type: ignore[arg-type]
            done = await shield.applier.apply(wanted)
            assert done.how == "runtime"
            assert (await get(shield.port, "d1.example"))[0] == expected
            assert (await get(shield.port, "d2.example"))[0] == 200
        assert await worker_pid(shield) == pid
        await shield.haproxy.reload(shield.applier.running()[0])  # type: ignore[index]
        assert (await get(shield.port, "d1.example"))[0] == 200


async def test_each_reload_starts_a_worker(shield: Shield) -> None:
    await shield.applier.apply(config(1, domain(1, port=9)))
    generation = shield.applier.running()[0]  # type: ignore[index]
    pids = {await worker_pid(shield)}
    for _ in range(8):
        await shield.haproxy.reload(generation)
        pids.add(await worker_pid(shield))
    assert len(pids) == 9


async def test_reload_that_fails_says_why_at_once(shield: Shield) -> None:
    await shield.applier.apply(config(1, domain(1, port=9)))
    generation = shield.applier.running()[0]  # type: ignore[index]
    with (shield.state.current / "haproxy.cfg").open("a") as file:
        file.write("no such directive\n")
    with pytest.raises(HaproxyError, match=r"did not load it(.|\n)*unknown keyword .such."):
        await shield.haproxy.reload(generation)


@pytest.mark.parametrize("mode", ["off", "detect", "block"])
async def test_modes(shield: Shield, mode: str) -> None:
    attack = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--"
    async with origin() as port:
        policy = Policy(mode=mode)  # type: ignore[arg-type]
        await shield.applier.apply(config(1, domain(port=port, policy=policy)))
        assert (await get(shield.port, "d1.example", attack, "User-Agent: t\"e\\s't"))[0] == (
            403 if mode == "block" else 200
        )
        if mode == "off":
            async with asyncio.timeout(20):
                while not await shield.metrics.collect():  # how long the answer took
                    await asyncio.sleep(0.02)
            assert await shield.told(0) == []
        else:
            (event,) = await shield.told()
            assert (event.action, event.rules, event.host) == (mode, ("sqli-union",), "d1.example")
            assert event.query == attack[2:]
            assert event.user_agent == "t\"e\\s't"


async def test_refused_configuration_is_rolled_back_with_haproxys_words(
    shield: Shield, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        pid = await worker_pid(shield)
        monkeypatch.setattr(rendering, "site", followed_by("    no-such-keyword at all\n"))
        with pytest.raises(ApplyError, match="unknown keyword 'no-such-keyword'") as caught:
            await shield.applier.apply(config(2, domain(port=port), domain(2, port=port)))
        assert caught.value.stage == "check"
        assert await worker_pid(shield) == pid
        assert (await get(shield.port, "d1.example"))[0] == 200
        monkeypatch.undo()
        assert (await shield.applier.apply(config(3, domain(port=port), domain(3, port=port)))).how == "reload"
        assert (await get(shield.port, "d3.example"))[0] == 200


def followed_by(text: str) -> Callable[[Domain], sites.Site]:
    """Return a renderer of domains that adds `text`."""
    return lambda domain: (made := sites.site(domain))._replace(text=made.text + text)


async def test_configuration_that_passes_the_check_but_does_not_start_is_rolled_back(
    shield: Shield, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        bind = f"\nfrontend clash from base\n    bind 127.0.0.1:{port}\n"
        monkeypatch.setattr(rendering, "site", followed_by(bind))
        monkeypatch.setattr("lumos_agent.drivers.haproxy.READY_SECONDS", 2.0)
        with pytest.raises(ApplyError) as caught:
            await shield.applier.apply(config(2, domain(port=port, policy=Policy(level="high"))))
        assert caught.value.stage == "reload"
        monkeypatch.undo()
        assert (await get(shield.port, "d1.example"))[0] == 200
        assert shield.applier.identity().revision == 1
        assert (await shield.applier.apply(config(3, domain(2, port=port)))).how == "reload"


async def test_big_shrink_is_held_back_unless_people_did_it(shield: Shield) -> None:
    many = [domain(number) for number in range(1, 6)]
    await shield.applier.apply(config(1, *many))
    with pytest.raises(ApplyError, match="Held back") as caught:
        await shield.applier.apply(config(2))
    assert caught.value.stage == "guard"
    assert (await shield.applier.apply(config(3, allow_shrink=True))).how == "reload"


async def test_wrong_digest_is_refused(shield: Shield) -> None:
    with pytest.raises(ApplyError, match="digest"):
        await shield.applier.apply(msgspec.structs.replace(config(1, domain()), digest="0" * 64))


@pytest.mark.parametrize("step", STEPS)
async def test_agent_killed_at_any_step_of_an_apply(shield: Shield, step: str) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        argv = [sys.executable, "-m", "tests.agent.crash_apply", str(shield.state.root), step, str(port)]
        died = await asyncio.create_subprocess_exec(*argv)
        assert await died.wait() == -signal.SIGKILL
        assert (await get(shield.port, "d1.example"))[0] == 200
        restarted = Shield(shield.state.root)
        await restarted.applier.repair()
        number, artefact = restarted.applier.running() or (0, None)
        assert await restarted.haproxy.running_generation() == number
        assert artefact is not None
        assert not restarted.state.journal_file.exists()
        assert (await get(shield.port, "d1.example"))[0] == 200
        is_new = rendering.identity_of(artefact).revision == 2
        assert (await get(shield.port, "d2.example"))[0] == (200 if is_new else 421)
        await restarted.applier.apply(config(3, domain(port=port), domain(2, port=port)))
        assert (await get(shield.port, "d2.example"))[0] == 200


@pytest.mark.parametrize("step", ["journal", "runtime", "write", "switch", "store", "done"])
async def test_agent_killed_at_any_step_of_a_runtime_change(shield: Shield, step: str) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port), domain(2, port=port)))
        argv = [sys.executable, "-m", "tests.agent.crash_apply", str(shield.state.root), step, str(port), "runtime"]
        died = await asyncio.create_subprocess_exec(*argv)
        assert await died.wait() == -signal.SIGKILL
        assert (await get(shield.port, "d1.example"))[0] == 200
        restarted = Shield(shield.state.root)
        await restarted.applier.repair()
        number, artefact = restarted.applier.running() or (0, None)
        assert await restarted.haproxy.running_generation() == number
        assert artefact is not None
        assert not restarted.state.journal_file.exists()
        is_new = rendering.identity_of(artefact).revision == 2
        assert (await get(shield.port, "d2.example"))[0] == (403 if is_new else 200)
        assert is_new == (step == "done")


async def test_runtime_change_that_cannot_be_written_is_taken_back(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        before = shield.applier.running()
        shield.applier._generations.write = _disk_full  # type: ignore[method-assign, assignment]
        with pytest.raises(ApplyError, match="No space left"):
            await shield.applier.apply(config(2, domain(port=port), deny={1: ("127.0.0.0/8",)}))
        assert (await get(shield.port, "d1.example"))[0] == 200
        assert shield.applier.running() == before
        assert await shield.haproxy.running_generation() == before[0]  # type: ignore[index]
        assert not shield.state.journal_file.exists()


def _disk_full(*args: object) -> None:
    raise ApplyError("write", "cannot write gen-000002: No space left on device")


async def test_account_wide_list_holds_for_every_domain(shield: Shield) -> None:
    async with origin() as port:

        async def seen(revision: int, scope: str, allow: tuple[str, ...], deny: tuple[str, ...]) -> list[int]:
            wanted = msgspec.structs.replace(
                snapshot(domain(1, port=port), domain(2, port=port)),
                lists=(*listings("*", (), ("127.0.0.0/8",)), *listings(scope, allow, deny)),
            )
            data = wanted.encode()
            message = Config(epoch="e", revision=revision, digest=digest_of(data), snapshot=msgspec.Raw(data))
            await shield.applier.apply(message)
            return [(await get(shield.port, f"d{number}.example"))[0] for number in (1, 2)]

        assert await seen(1, ident(1), (), ()) == [403, 403]
        assert await seen(2, ident(1), ("127.0.0.1/32",), ()) == [200, 403]
        assert await seen(3, ident(1), (), ("127.0.0.1/32",)) == [403, 403]


async def test_killed_worker_loses_no_new_connection(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        os.kill(await worker_pid(shield), signal.SIGKILL)
        waiting = [asyncio.create_task(get(shield.port, "d1.example")) for _ in range(20)]
        await until(lambda: shield.haproxy.master() is None or shield.haproxy._master._child.poll() is not None)  # type: ignore[union-attr]
        await shield.applier.revive()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200] * 20


async def test_snapshot_of_another_version_stops_nobody(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        stored = shield.applier.stored()
        assert stored is not None
        older = stored.snapshot.replace(b'"mode"', b'"retired_setting":1,"mode"')
        Store(shield.state.snapshot_file, TOKEN).save(msgspec.structs.replace(stored, snapshot=older))
        upgraded = Shield(shield.state.root)
        await upgraded.applier.repair()
        await upgraded.applier.refresh()
        assert upgraded.applier.snapshot() is None
        assert (await get(shield.port, "d1.example"))[0] == 200
        assert (await upgraded.applier.apply(config(2, domain(2, port=port)))).how == "reload"
        assert (await get(shield.port, "d2.example"))[0] == 200


async def test_later_agent_takes_the_sockets_over(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        later = Shield(shield.state.root)
        assert set(later.haproxy._sockets) == {"LUMOS_HTTP_0"}
        for opened in shield.haproxy._sockets.values():
            opened.close()
        shield.haproxy._sockets.clear()
        os.kill(await worker_pid(shield), signal.SIGKILL)
        waiting = asyncio.create_task(get(shield.port, "d1.example"))
        await until(lambda: shield.haproxy._master._child.poll() is not None)  # type: ignore[union-attr]
        await later.applier.revive()
        assert (await waiting)[0] == 200


async def test_counters_are_exact_over_reloads_and_agent_deaths(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        counted, agent = 0, shield
        for revision in range(2, 6):
            await agent.workers.attach()
            for _ in range(25):
                await get(agent.port, "d1.example")
            policy = Policy(level="high")
            await agent.applier.apply(config(revision, domain(port=port), domain(revision, port=port, policy=policy)))
            await get(agent.port, "d1.example")
            counted += await drained(agent)
            for worker in agent.workers.all:
                await worker.session.close()
            agent = Shield(shield.state.root)
        await agent.workers.attach()
        agent.metrics._traffic_at = -1e9
        await agent.metrics.collect()
        counted += await drained(agent)
        assert counted == 4 * 26


async def test_killed_worker_takes_no_count_along(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=Policy(level="high"))))
        await get(shield.port, "d1.example")
        worker = await shield.workers.attach()
        async with asyncio.timeout(20):
            while not await shield.metrics.collect():
                await asyncio.sleep(0.02)
        for _ in range(30):
            await get(shield.port, "d1.example", "/?q=hello")
        await get(shield.port, "d1.example", "/../../etc/passwd")
        await until(lambda: b" block " in shield.workers._answers.since_last_read())
        os.kill(int(worker.info["Pid"]), signal.SIGKILL)
        await until(lambda: shield.haproxy._master._child.poll() is not None)  # type: ignore[union-attr]
        await shield.applier.revive()
        await shield.metrics.collect()
        first, second = (batch.traffic[0] for batch in shield.metrics._spool.waiting)
        assert (first.requests, first.status_2xx) == (1, 1)
        assert (second.requests, second.status_2xx, second.status_4xx, second.blocked) == (31, 30, 1, 1)
        assert second.bytes_out > 30 * len("hello")


async def test_event_of_a_bare_request(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port), deny={1: ("127.0.0.0/8",)}))
        await get(shield.port, "d1.example")
        await shield.workers.attach()
        while not (events := [event for batch in shield.metrics._spool.waiting for event in batch.events]):
            await shield.metrics.collect()
        (event,) = events
        assert (event.client, event.path, event.query, event.user_agent) == ("127.0.0.1", "/", "", "")
        assert (event.rules, event.host) == (("list-deny",), "d1.example")
        assert event.request_id.startswith("00000000-")


async def drained(agent: Shield) -> int:
    """Acknowledge everything that waits and return the requests in it."""
    total = 0
    while (batch := agent.metrics.first_waiting) is not None:
        total += sum(part.requests for part in batch.traffic)
        agent.metrics.acknowledge(BatchAck(boot_id=batch.boot_id, seq=batch.seq))
    return total


async def test_roll_back_by_hand(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(1, port=port)))
        await shield.applier.apply(config(2, domain(2, port=port)))
        assert (await shield.applier.roll_back()).revision == 1
        assert (await get(shield.port, "d1.example"))[0] == 200
        assert (await get(shield.port, "d2.example"))[0] == 421


async def test_full_disk_changes_nothing(shield: Shield, monkeypatch: pytest.MonkeyPatch) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))

        def full(path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("lumos_agent.generations._write_durably", full)
        with pytest.raises(ApplyError, match="No space left") as caught:
            await shield.applier.apply(config(2, domain(2, port=port)))
        assert caught.value.stage == "write"
        assert (await get(shield.port, "d1.example"))[0] == 200


def test_generated_file_passes_a_plain_check(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        made = Shield.new(Path(folder))

        async def go() -> None:
            await made.applier.repair()
            await made.stop()

        asyncio.run(go())
        argv = ["haproxy", "-c", "-f", str(made.state.current / "haproxy.cfg")]
        assert subprocess.run(argv, capture_output=True).returncode == 0
