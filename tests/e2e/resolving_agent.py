"""The agent with a DNS of its own: LUMOS_TEST_HOST has the address 127.0.0.1."""

import os
import socket
import sys
from typing import Any

from lumos_agent import cli

_real = socket.getaddrinfo


def _resolved(host: Any, *args: Any, **options: Any) -> Any:
    return _real("127.0.0.1" if host == os.environ["LUMOS_TEST_HOST"] else host, *args, **options)


if __name__ == "__main__":
    socket.getaddrinfo = _resolved
    sys.exit(cli.main())
