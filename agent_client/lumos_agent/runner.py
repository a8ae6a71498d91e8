"""The only place that runs other programs to completion: argv, a time limit, no shell."""

import asyncio
import subprocess
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
        raise AgentError(_missing(argv[0])) from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise AgentError(f"{argv[0]} did not finish within {timeout_seconds:.0f} s") from error
    return process.returncode or 0, output.decode(errors="replace")


def output_of(argv: Sequence[str]) -> str:
    """Return stdout of a program that ends at once, for example one that says its version.

    Raises:
        AgentError: the program is not installed, failed or took too long.
    """
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=10)  # noqa: S603 - argv is ours
    except FileNotFoundError as error:
        raise AgentError(_missing(argv[0])) from error
    except subprocess.SubprocessError as error:
        raise AgentError(f"{argv[0]} does not run: {error}") from error
    return done.stdout.decode(errors="replace")


def _missing(program: str) -> str:
    return f"{program} is not installed; install its package and try again"
