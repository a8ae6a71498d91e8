"""Search engines whose crawlers need not pass the bot check: verified as their operators say, in both directions.

A crawler names itself in its user agent; its address points to a name in its operator's domain, and that name points
back to the address. Whoever only says so is challenged like everybody. The check takes place after a first request was
challenged; until it is done the address is nobody's.
"""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent.challenged import Challenged
from lumos_agent.config import State, write_atomically
from lumos_agent.dns import NoAnswer, Resolver
from lumos_agent.drivers.served_map import ServedMap
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

VERIFIED_SECONDS = 3 * 86_400.0
REFUSED_SECONDS = 3_600.0
UNKNOWN_SECONDS = 60.0
LOOK_SECONDS = 60.0
RETRY_SECONDS = 1.0
VERIFIED_MAX = 2_000
REFUSED_MAX = 10_000
WAITING_MAX = 500
AT_ONCE = 4
NAMES_MAX = 4


class Engine(Struct, frozen=True):
    """What its crawlers call themselves, in lower case, and the domains that their addresses' names are in."""

    words: tuple[str, ...]
    domains: tuple[str, ...]


# Names of machines that anybody can rent (googleusercontent.com, for one) prove nothing and are not here.
_ENGINES = (
    Engine(("googlebot", "adsbot-google", "storebot-google", "google-inspectiontool"), ("googlebot.com", "google.com")),
    Engine(("bingbot", "adidxbot", "msnbot"), ("search.msn.com",)),
    Engine(("duckduckbot",), ("duckduckgo.com",)),
    Engine(("applebot",), ("applebot.apple.com",)),
    Engine(("yandex",), ("yandex.ru", "yandex.net", "yandex.com")),
    Engine(("baiduspider",), ("baidu.com", "baidu.jp")),
    Engine(("slurp",), ("crawl.yahoo.net",)),
    Engine(("seznambot",), ("seznam.cz",)),
    Engine(("qwantbot",), ("qwant.com",)),
    Engine(("petalbot",), ("petalsearch.com",)),
)
ENGINES = {engine.words[0]: engine for engine in _ENGINES}


class Verified(Struct, frozen=True):
    """Which of `ENGINES` an address belongs to, and until when that need not be asked again (Unix seconds)."""

    engine: str
    until: float


def engine_of(user_agent: str) -> str | None:
    """Return which of `ENGINES` a user agent names."""
    agent = user_agent.lower()
    return next((name for name, engine in ENGINES.items() if any(word in agent for word in engine.words)), None)


def _is_in(name: str, engine: Engine) -> bool:
    return any(name.endswith(f".{domain}") for domain in engine.domains)


async def is_verified(address: str, engine: Engine, resolver: Resolver) -> bool:
    """Whether an address belongs to an engine.

    Raises:
        NoAnswer: the DNS could not say.
    """
    version = ipaddress.ip_address(address).version
    for name in [name for name in await resolver.names(address) if _is_in(name, engine)][:NAMES_MAX]:
        if address in await resolver.addresses(name, version=version):
            return True
    return False


class Crawlers:
    """The map of verified addresses, its file, and the questions that are open; all of them bounded."""

    def __init__(self, state: State, resolver: Resolver) -> None:
        self._file = state.crawlers_file
        self._map = ServedMap(state.crawlers_map, state.worker_socket)
        self._resolver = resolver
        self._verified = _load(self._file)
        self._refused: dict[str, float] = {}
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(WAITING_MAX)
        self._open: set[str] = set()
        self._stale = asyncio.Event()
        self._served_at = 0.0

    def suspect(self, requests: Iterable[Challenged]) -> None:
        """Have the addresses checked that call themselves a search engine and were challenged."""
        now = time.time()
        for request in requests:
            known = self._verified.get(request.client)
            engine = None if self._refused.get(request.client, 0.0) > now else engine_of(request.user_agent)
            if engine is None:
                continue
            if known is None or known.engine != engine:
                self._ask(request.client, engine)
            elif self._served_at < now - LOOK_SECONDS:
                self._stale.set()  # perhaps a worker that started while the map was written does not know

    def _ask(self, address: str, engine: str) -> None:
        if address not in self._open and not self._waiting.full():
            self._open.add(address)
            self._waiting.put_nowait((address, engine))

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve())
            for _ in range(AT_ONCE):
                group.create_task(self._check())

    async def _check(self) -> None:
        while True:
            address, engine = await self._waiting.get()
            try:
                self._note(address, engine, verified=await is_verified(address, ENGINES[engine], self._resolver))
            except NoAnswer:
                self._refused[address] = time.time() + UNKNOWN_SECONDS
            except ValueError:
                self._refused[address] = time.time() + REFUSED_SECONDS  # what HAProxy wrote is no address
            self._open.discard(address)

    def _note(self, address: str, engine: str, *, verified: bool) -> None:
        known = self._verified.pop(address, None)
        if verified:
            self._verified[address] = Verified(engine, time.time() + VERIFIED_SECONDS)
            _shorten(self._verified, VERIFIED_MAX)
        else:
            self._refused[address] = time.time() + REFUSED_SECONDS
            _shorten(self._refused, REFUSED_MAX)
        if verified or known:
            log.info("crawler_checked", extra={"address": address, "verified": verified})
            self._stale.set()

    async def _serve(self) -> None:
        """Write what changed; what is old is asked about again, and holds until the answer."""
        self._stale.set()
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stale.wait()
                self._stale.clear()
                await self._write()
            except TimeoutError:
                now = time.time()
                for address in [a for a, known in self._verified.items() if known.until < now]:
                    self._ask(address, self._verified[address].engine)
            except (HaproxyError, OSError) as error:
                log.warning("crawlers_not_served", extra={"error": str(error)})
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self) -> None:
        self._served_at = time.time()
        write_atomically(self._file, msgspec.json.encode(self._verified), durable=False)
        engines = {address: ENGINES[known.engine] for address, known in self._verified.items()}
        await self._map.put({address: "+".join(engine.words) for address, engine in engines.items()})


def _shorten(entries: dict[str, Verified] | dict[str, float], most: int) -> None:
    """Forget the oldest."""
    while len(entries) > most:
        del entries[next(iter(entries))]


def _load(path: Path) -> dict[str, Verified]:
    """Return what an earlier run verified, of engines that this version knows."""
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Verified])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        log.warning("crawlers_unreadable", extra={"error": str(error)})
        return {}
    return {address: verified for address, verified in known.items() if verified.engine in ENGINES}
