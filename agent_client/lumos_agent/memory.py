"""What the agent keeps of the machine's memory."""

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024


def give_back_large_buffers() -> None:
    """Let the kernel have large buffers back as soon as they are free (mallopt(3)), as other libcs than glibc do.

    Left alone, glibc raises its threshold with the first of them, and keeps what a shield with thousands of domains
    reads and writes in passing.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
