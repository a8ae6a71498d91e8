"""A map outside the generations: its file and the running worker always say the same."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from lumos_agent.config import write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError


class ServedMap:
    """One map file that the configuration names by its absolute path."""

    def __init__(self, path: Path, socket: Path) -> None:
        self._path = path
        self._socket = socket
        self._writing = asyncio.Lock()

    async def put(self, entries: Mapping[str, str]) -> None:
        """Replace the whole map, on disk and in the worker, in one step each (management guide, 9.3, `commit map`).

        Neither keys nor values have white space.

        Raises:
            HaproxyError: the worker does not take it; the next reload reads the file.
        """
        async with self._writing:
            wanted = sorted(entries.items())
            write_atomically(self._path, "".join(f"{k} {v}\n" for k, v in wanted).encode(), durable=False)
            session = await cli.Session.open(self._socket)
            try:
                prepared = await session.command(f"prepare map {self._path}")
                version = prepared.rpartition(":")[2].strip()
                if not version.isdigit():
                    raise HaproxyError(f"{self._path.name}: {prepared.strip()}")
                commands = [f"add map @{version} {self._path} {key} {value}" for key, value in wanted]
                for command in (*commands, f"commit map @{version} {self._path}"):
                    if answer := (await session.command(command)).strip():
                        raise HaproxyError(f"{self._path.name}: {answer}")
            finally:
                await session.close()
