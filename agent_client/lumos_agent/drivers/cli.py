"""HAProxy's command line sockets (management guide, section 9.3)."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from lumos_agent.errors import ConnectionLost, HaproxyError, NotListening

ANSWER_SECONDS = 10.0
_PROMPT = b"\n> "
_ANSWER_BYTES_MAX = 64 * 1024 * 1024


class _Reader(asyncio.StreamReader):
    """Says when the other side has closed."""

    def __init__(self) -> None:
        super().__init__(limit=_ANSWER_BYTES_MAX)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


class Session:
    """An interactive session. It belongs to the worker that accepted it, and keeps that worker alive while it ends."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._busy = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> "Session":
        """Connect and switch to interactive mode.

        Raises:
            HaproxyError: nobody listens.
        """
        try:
            loop, reader = asyncio.get_running_loop(), _Reader()
            transport, protocol = await loop.create_unix_connection(
                lambda: asyncio.StreamReaderProtocol(reader), str(path)
            )
        except OSError as error:
            raise HaproxyError(f"HAProxy does not answer on {path}: {error.strerror or error}") from error
        session = cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        await session.command("prompt")
        return session

    async def command(self, line: str) -> str:
        """Send one line and return the answer without the prompt.

        Raises:
            HaproxyError: the worker is gone or does not answer in time.
        """
        return (await self.commands(line))[0]

    async def commands(self, *lines: str) -> list[str]:
        """Send commands that the worker carries out one right after the other; returns their answers.

        Raises:
            HaproxyError: the worker is gone or does not answer all of them in time.
        """
        async with self._busy:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._writer.write(";".join(lines).encode() + b"\n")
                    await self._writer.drain()
                    answers = [await self._reader.readuntil(_PROMPT) for _ in lines]
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                raise HaproxyError(f"HAProxy did not answer {lines[0].split(maxsplit=1)[0]!r}: {error}") from error
        return [answer[: -len(_PROMPT)].decode(errors="replace") for answer in answers]

    async def closed(self) -> None:
        """Return when the worker has gone."""
        await self._reader.ended.wait()

    def is_closed(self) -> bool:
        """Whether the worker has closed the session."""
        return self._reader.ended.is_set()

    async def close(self) -> None:
        """End the session."""
        self._writer.close()


async def ask(path: Path, commands: Sequence[str]) -> str:
    """Open a connection, send `commands`, and return everything that comes until the other side closes."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError as error:
        raise NotListening(f"HAProxy does not answer on {path}: {error}") from error
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            writer.write(";".join(commands).encode() + b"\n")
            writer.write_eof()  # the master keeps a connection open until its other side ends
            answer = await reader.read(-1)
            writer.close()
    except ConnectionError as error:
        raise ConnectionLost(f"HAProxy ended the connection on {path}: {error}") from error
    except (OSError, TimeoutError) as error:
        raise HaproxyError(f"HAProxy does not answer on {path}: {error}") from error
    return answer.decode(errors="replace")
