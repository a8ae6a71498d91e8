"""The only place that runs other programs to completion: argv, a time limit, no shell."""

import asyncio
from collections.abc import Sequence

from lumos_agent.errors import AgentError


async def run(argv: Sequence[str], *, timeout_seconds: float = 30.0) -> tuple[int, str]:
    """Return (exit code, stdout and stderr together).

    Raises:
        AgentError: the program is not installed or took too long.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise AgentError(f"{argv[0]} is not installed; install its package and try again") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise AgentError(f"{argv[0]} did not finish within {timeout_seconds:.0f} s") from error
    return process.returncode or 0, output.decode(errors="replace")
