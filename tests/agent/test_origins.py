"""The health of origins as the agent reports it: HAProxy's checks, on real origins that come and go."""

import asyncio
from typing import Any

import pytest

from lumos_agent import protocol
from lumos_agent.origins import OriginWatch, parse_states
from lumos_agent.schema import Origin
from lumos_agent.traffic import Health, Route, Target, Traffic
from tests.agent.builders import Shield, config, domain, ident
from tests.agent.visitor import origin
from tests.services import free_port

CHECKED = Traffic(health=Health(interval_seconds=1, rise=1, fall=1))
HEADER = "# pxname,svname,status,lastchg,check_status,check_code,last_chk,check_desc"


class Gateway:
    """Keeps what an agent tells, newest state by origin."""

    def __init__(self, shield: Shield) -> None:
        self.messages: list[protocol.Origins] = []
        self.watch = OriginWatch(shield.workers, self._take)

    async def _take(self, message: protocol.AgentMessage) -> None:
        assert isinstance(message, protocol.Origins)
        self.messages.append(message)

    def known(self) -> dict[str, protocol.OriginState]:
        return {state.origin_id: state for message in self.messages for state in message.states}

    async def until(self, number: int, state: str) -> protocol.OriginState:
        """Return the report that an origin is in `state`."""
        async with asyncio.timeout(15):
            while (found := self.known().get(ident(number))) is None or found.state != state:
                await self.watch.look()
                await asyncio.sleep(0.1)
        return found


def server(number: int, port: int, **changes: Any) -> Origin:
    return Origin(id=ident(number), port=port, **{"address": "127.0.0.1", **changes})


@pytest.mark.integration
async def test_origin_that_goes_down_and_comes_back_is_reported(shield: Shield) -> None:
    gateway, port = Gateway(shield), free_port()
    await shield.applier.apply(config(1, domain(origins=(server(1, port),), traffic=CHECKED)))
    down = await gateway.until(1, "down")
    assert down.reason == "Layer4 connection problem: Connection refused"
    async with origin(port=port):
        up = await gateway.until(1, "up")
        assert (up.reason, up.since > down.since) == ("", True)
        told = len(gateway.messages)
        await gateway.watch.look()
        assert len(gateway.messages) == told
        gateway.watch.tell_all()
        await gateway.watch.look()
        assert len(gateway.messages) == told + 1
    await gateway.until(1, "down")


@pytest.mark.integration
async def test_every_state_has_its_word(shield: Shield) -> None:
    gateway = Gateway(shield)
    async with origin() as port:
        bad = Traffic(health=Health(status="204", interval_seconds=1, rise=1, fall=1))
        route = Route(path="/api", origins=(Target(address="127.0.0.1", port=port),))
        domains = (
            domain(1, origins=(server(1, port), server(2, port, enabled=False)), traffic=Traffic(routes=(route,))),
            domain(2, origins=(server(3, port), server(4, port, weight=0)), traffic=bad),
            domain(3, origins=(server(5, 80, address="nowhere.invalid"),)),
        )
        await shield.applier.apply(config(1, *domains))
        assert (await gateway.until(3, "down")).reason == "Layer7 wrong status: 200 OK"
        assert (await gateway.until(5, "down")).reason == "Its name cannot be resolved."
        await gateway.until(4, "down")
        states = {number: gateway.known()[ident(number)].state for number in (1, 2)}
        assert states == {1: "unchecked", 2: "maintenance"}
        assert len(gateway.known()) == 5


def test_rows_of_haproxy_are_understood() -> None:
    rows = [
        HEADER, 'd-1,o-1,DOWN 1/2,5,L7STS,503,"Busy, ""later""",Layer7 wrong status', "d-1,o-2,UP 1/3,5,L7OK,200,,ok",
        "d-1,o-3,UP 1/2,0,INI,,,Initializing", "d-1,o-4,DRAIN,,,,,", "d-1,o-5,no check,,,,,", "d-1-r0,t-0,UP,1,,,,",
        "d-1,BACKEND,UP,1,,,,", "d-1,o-6,new word,1,,,,", "",
    ]  # fmt: skip
    states = {state.origin_id: state for state in parse_states("\n".join(rows), 100.0)}
    words = {name: state.state for name, state in states.items()}
    assert words == {"1": "down", "2": "up", "3": "unchecked", "4": "up", "5": "unchecked"}
    assert (states["1"].reason, states["1"].since) == ('Layer7 wrong status: 503 Busy, "later"', 95.0)
