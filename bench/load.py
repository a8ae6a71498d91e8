"""A visitor's load: keep-alive and new connections; every request that fails is counted with its reason."""

import asyncio
import contextlib
from collections import Counter

_HEAD = "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, as an origin."""
    with contextlib.suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    writer.close()


class Load:
    """Runs until `stop`; a keep-alive request that meets a closing connection is sent again once, as browsers do."""

    def __init__(self, port: int, host: str, *, keep_alive: int = 8, new: int = 4) -> None:
        self._port, self._host = port, host
        self._workers = (keep_alive, new)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()

    async def __aenter__(self) -> "Load":
        keep_alive, new = self._workers
        self._tasks = [asyncio.create_task(self._keep_alive()) for _ in range(keep_alive)]
        self._tasks += [asyncio.create_task(self._new()) for _ in range(new)]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    @property
    def failed(self) -> int:
        """Requests without an answer, or with a 5xx."""
        return sum(self.failures.values())

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra: str
    ) -> tuple[int, bool] | None:
        """Return (status, whether the connection stays open); None if it was closed before any answer."""
        writer.write(_HEAD.format(path="", host=self._host, extra=extra).encode())
        try:
            async with asyncio.timeout(20):
                await writer.drain()
                line = await reader.readline()
                if not line:
                    return None
                length, stays = 0, True
                while (header := (await reader.readline()).strip().lower()) != b"":
                    if header.startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                    if header == b"connection: close":
                        stays = False
                await reader.readexactly(length)
        except ConnectionError:
            return None
        return int(line.split()[1]), stays

    def _count(self, result: tuple[int, bool] | None, kind: str) -> None:
        self.requests += 1
        if result is None:
            self.failures[f"{kind}: closed without an answer"] += 1
        else:
            self.statuses[result[0]] += 1
            if result[0] >= 500:
                self.failures[f"{kind}: status {result[0]}"] += 1

    async def _keep_alive(self) -> None:
        connection = None
        while not self._stopping:
            try:
                is_reused = connection is not None
                connection = connection or await self._open()
                result = await self._ask(*connection, extra="")
                if result is None and is_reused:
                    connection[1].close()
                    connection = await self._open()
                    result = await self._ask(*connection, extra="")
                self._count(result, "keep-alive")
                if result is None or not result[1]:
                    connection[1].close()
                    connection = None
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
                self.requests += 1
                self.failures[f"keep-alive: {type(error).__name__}"] += 1
                connection = None
            await asyncio.sleep(0.002)
        if connection is not None:
            connection[1].close()

    async def _new(self) -> None:
        while not self._stopping:
            try:
                reader, writer = await self._open()
                self._count(await self._ask(reader, writer, "Connection: close\r\n"), "new")
                writer.close()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
                self.requests += 1
                self.failures[f"new: {type(error).__name__}"] += 1
            await asyncio.sleep(0.002)
