"""The registry of one gateway process: who is renewed, who is let go, and that nobody pays for another."""

import uuid

import pytest

from lumos_agent import protocol
from servers import gateway


class Heard:
    """A link that notes with which code it is closed."""

    def __init__(self, *, is_alive: bool = True) -> None:
        self.server_id = uuid.uuid4()
        self.sent_revision = 1
        self.is_alive = is_alive
        self.codes: list[int] = []

    def wake(self) -> None:
        raise AssertionError("nothing changed")

    wake_challenges = wake_peers = wake_errand = wake

    async def close_link(self, code: int) -> None:
        self.codes.append(code)


class Stuck(Heard):
    """A link that cannot be closed."""

    async def close_link(self, code: int) -> None:
        raise RuntimeError("the transport is in no state to close")


def registry(*links: Heard) -> gateway.Gateway:
    made = gateway.Gateway()
    made.links = {link.server_id: link for link in links}
    return made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "RENEW_SECONDS", 0)
    monkeypatch.setattr(gateway, "SWEEP_SECONDS", 0)


async def test_silent_agents_are_let_go_and_the_others_stay_online(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[uuid.UUID] = []
    monkeypatch.setattr(gateway, "renew_leases", renewed.extend)
    stuck, silent, alive = Stuck(is_alive=False), Heard(is_alive=False), Heard()
    await registry(stuck, silent, alive)._renew()
    assert silent.codes == [protocol.CLOSE_RECONNECT]
    assert renewed == [alive.server_id]
    assert alive.codes == []


async def test_sweep_lets_go_of_servers_that_are_gone_and_not_of_who_has_just_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed, known, newcomer = Heard(), Heard(), Heard()
    made = registry(removed, known)

    def query(server_ids: list[uuid.UUID]) -> dict[uuid.UUID, int]:
        assert server_ids == [removed.server_id, known.server_id]
        made.links[newcomer.server_id] = newcomer
        return {known.server_id: 1}

    monkeypatch.setattr(gateway, "desired_revisions", query)
    await made._sweep()
    assert removed.codes == [protocol.CLOSE_RECONNECT]
    assert known.codes == newcomer.codes == []
