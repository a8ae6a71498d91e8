"""Wake-ups after commit: they reach their group whatever becomes of who caused them, and hold nobody up."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from redis.exceptions import ConnectionError as RedisConnectionError

from servers import wake


class Layer:
    """Takes what is sent; `ready` lets it through, `reached` says that something waits."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.reached, self.ready = threading.Event(), threading.Event()
        self.loops: set[int] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.loops.add(id(asyncio.get_running_loop()))
        self.reached.set()
        while not self.ready.is_set():
            await asyncio.sleep(0.001)
        self.sent.append((group, message))


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Layer:
    made = Layer()
    monkeypatch.setattr(wake, "get_channel_layer", lambda: made)
    return made


async def test_request_that_is_given_up_takes_no_wake_up_along(layer: Layer) -> None:
    ended = threading.Event()

    def change() -> None:
        wake.publish("group", {"type": "x"})
        ended.set()

    request = asyncio.create_task(sync_to_async(change, thread_sensitive=False)())
    await asyncio.to_thread(layer.reached.wait, 5)
    request.cancel()
    await asyncio.sleep(0)
    layer.ready.set()
    assert await asyncio.to_thread(ended.wait, 5)
    assert layer.sent == [("group", {"type": "x"})]


def test_one_loop_of_its_own_sends_for_all_threads(layer: Layer) -> None:
    layer.ready.set()
    wake.publish("g", {"type": "x"})
    threads = [threading.Thread(target=wake.publish, args=(f"g{n}", {"type": "x"})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(layer.sent) == 9
    assert len(layer.loops) == 1


def test_redis_that_hangs_costs_a_bounded_time(
    layer: Layer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wake, "SEND_SECONDS_MAX", 0.05)
    wake.publish("group", {"type": "x"})
    assert [record.message for record in caplog.records] == ["wake_lost"]
    layer.ready.set()
    wake.publish("group", {"type": "y"})
    assert ("group", {"type": "y"}) in layer.sent


def test_redis_that_is_gone_is_no_error_of_the_change(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone:
        async def group_send(self, group: str, message: dict[str, Any]) -> None:
            raise RedisConnectionError("Connection refused")

    monkeypatch.setattr(wake, "get_channel_layer", Gone)
    wake.publish("group", {"type": "x"})
    assert [record.message for record in caplog.records] == ["wake_lost"]
