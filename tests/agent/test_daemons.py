"""An apply takes the daemons beside HAProxy along, or leaves all of them where they were."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lumos_agent.daemons import Daemon, Daemons
from lumos_agent.errors import ApplyError
from lumos_agent.render import haproxy as rendering
from lumos_agent.schema import Snapshot
from tests.agent.builders import Shield, config, domain, snapshot
from tests.agent.test_shield import followed_by
from tests.services import free_port


class Recorder(Daemon):
    """Takes whatever it is given, unless it was told to refuse it; `runs` is what it was given last."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = 0
        self.refuses_check = self.refuses_apply = False

    async def check(self, snapshot: Snapshot) -> None:
        if self.refuses_check:
            raise ApplyError("check", "line 3 is wrong")

    async def apply(self, snapshot: Snapshot) -> str:
        if self.refuses_apply:
            raise ApplyError("probe", "does not answer")
        before, self.runs = self.runs, len(snapshot.domains)
        return "" if before == self.runs else f"{self.runs} domains"


@pytest.fixture
async def daemons() -> tuple[Recorder, Recorder]:
    return Recorder("first"), Recorder("second")


@pytest.fixture
async def shield(daemons: tuple[Recorder, Recorder]) -> AsyncIterator[Shield]:
    with tempfile.TemporaryDirectory(prefix="la-") as folder:
        made = Shield(Path(folder), free_port(), daemons=daemons)
        try:
            await made.applier.repair()
            yield made
        finally:
            await made.stop()


async def test_report_says_what_changed(shield: Shield, daemons: tuple[Recorder, Recorder]) -> None:
    done = await shield.applier.apply(config(1, domain()))
    assert done.reason.endswith("; first: 1 domains; second: 1 domains")
    again = await shield.applier.apply(config(2, domain()))
    assert "first" not in again.reason


async def test_refused_check_changes_nothing(shield: Shield, daemons: tuple[Recorder, Recorder]) -> None:
    await shield.applier.apply(config(1, domain()))
    daemons[1].refuses_check = True
    with pytest.raises(ApplyError, match="second: line 3 is wrong") as caught:
        await shield.applier.apply(config(2, domain(), domain(2)))
    assert caught.value.stage == "check"
    assert (daemons[0].runs, shield.applier.identity().revision) == (1, 1)


async def test_failed_daemon_takes_the_others_back(shield: Shield, daemons: tuple[Recorder, Recorder]) -> None:
    await shield.applier.apply(config(1, domain()))
    daemons[1].refuses_apply = True
    with pytest.raises(ApplyError, match="second: does not answer") as caught:
        await shield.applier.apply(config(2, domain(), domain(2)))
    assert caught.value.stage == "probe"
    assert (daemons[0].runs, shield.applier.identity().revision) == (1, 1)


async def test_refusal_by_haproxy_takes_the_daemons_back(
    shield: Shield, daemons: tuple[Recorder, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    await shield.applier.apply(config(1, domain()))
    monkeypatch.setattr(rendering, "site", followed_by("    no-such-keyword\n"))
    with pytest.raises(ApplyError, match="no-such-keyword"):
        await shield.applier.apply(config(2, domain(), domain(2)))
    assert [daemon.runs for daemon in daemons] == [1, 1]


async def test_agent_that_starts_brings_them_back(shield: Shield, daemons: tuple[Recorder, Recorder]) -> None:
    await shield.applier.apply(config(1, domain()))
    daemons[0].runs = daemons[1].runs = 7
    daemons[0].refuses_apply = True
    await shield.applier.refresh()
    assert [daemon.runs for daemon in daemons] == [7, 1]
    daemons[0].refuses_apply = False
    assert await shield.applier.keep_daemons() == "first: 1 domains"


async def test_errors_of_the_system_are_refusals() -> None:
    class Broken(Recorder):
        async def check(self, snapshot: Snapshot) -> None:
            raise PermissionError(13, "Permission denied", "/etc/knot")

    with pytest.raises(ApplyError, match=r"knot: .*Permission denied"):
        await Daemons([Broken("knot")]).check(snapshot())
