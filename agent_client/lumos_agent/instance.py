"""At most one agent per state directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from lumos_agent.config import State
from lumos_agent.errors import AgentError


@contextlib.contextmanager
def single_instance(state: State) -> Iterator[None]:
    """Hold the lock that says that an agent runs.

    Raises:
        AgentError: another one does.
    """
    descriptor = os.open(state.run / "agent.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AgentError(f"another lumos-agent runs on {state.root}") from error
    try:
        yield
    finally:
        os.close(descriptor)
