"""Requests without a pause, one connection each, until SIGTERM: prints how many, how many failed, the longest silence.

The silence, in seconds, is between the ends of two requests that succeeded. Run in a host: `python -m tests.network.load
ADDRESS PORT`; the first line that it prints says that requests succeed.
"""

import json
import signal
import socket
import sys
import time

_PATIENCE = 20.0


def _succeeds(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"200" in connection.recv(4096)
    except OSError:
        return False


def main(address: str, port: int) -> None:
    """Ask until told to end."""
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: over.append(number))
    while not _succeeds(address, port):
        time.sleep(0.1)
    print("{}", flush=True)  # noqa: T201
    requests, failed, longest, last = 0, 0, 0.0, time.monotonic()
    while not over:
        requests += 1
        if not _succeeds(address, port):
            failed += 1
            continue
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    print(json.dumps({"requests": requests, "failed": failed, "silence": longest}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
