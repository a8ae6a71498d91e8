"""Applies a configuration and kills itself at one step: python -m tests.agent.crash_apply STATE_DIR STEP ORIGIN_PORT [runtime].

With `runtime` it is one that the running worker can be told.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.agent.builders import Shield, config, domain


def die_at(wanted: str) -> object:
    """Return a listener that kills this process when the step is reached."""

    def listener(step: str) -> None:
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return listener


async def main() -> None:
    root, step, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    shield = Shield(root, on_step=die_at(step))
    deny = {2: ("127.0.0.0/8",)} if sys.argv[4:] == ["runtime"] else {}
    await shield.applier.apply(config(2, domain(1, port=port), domain(2, port=port), deny=deny))


if __name__ == "__main__":
    asyncio.run(main())
