"""Copies of another process's sockets (pidfd_getfd(2), Linux 5.6)."""

import ctypes
import logging
import os
import socket
from pathlib import Path

log = logging.getLogger(__name__)

_PIDFD_GETFD = 438  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def sockets_of(pid: int) -> list[socket.socket]:
    """Return copies of the listening TCP sockets of a process; none where the kernel forbids it (ptrace(2) rules)."""
    found: list[socket.socket] = []
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return found
    try:
        for number in _socket_numbers(pid):
            copy = _libc.syscall(_PIDFD_GETFD, process, number, 0)
            if copy < 0:
                log.warning("sockets_not_adopted", extra={"error": os.strerror(ctypes.get_errno())})
                break
            opened = socket.socket(fileno=copy)
            if _is_tcp_listener(opened):
                found.append(opened)
            else:
                opened.close()
    finally:
        os.close(process)
    return found


def _socket_numbers(pid: int) -> list[int]:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
        return [int(entry.name) for entry in entries if str(entry.readlink()).startswith("socket:")]
    except OSError:
        return []


def _is_tcp_listener(opened: socket.socket) -> bool:
    return (
        opened.family in (socket.AF_INET, socket.AF_INET6)
        and opened.type == socket.SOCK_STREAM
        and opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )
