"""PCRE2, as HAProxy uses it: Python's own expressions differ in possessive repeats from version to version."""

import ctypes
import functools
from typing import Any

_CASELESS = 0x00000008


@functools.lru_cache(maxsize=1)
def _library() -> Any:
    library = ctypes.CDLL("libpcre2-8.so.0")
    library.pcre2_compile_8.restype = ctypes.c_void_p
    library.pcre2_match_data_create_8.restype = ctypes.c_void_p
    return library


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> tuple[int, int]:
    """Return expression and room for a match; both are kept."""
    library, error, offset = _library(), ctypes.c_int(), ctypes.c_size_t()
    text = pattern.encode("latin-1")
    code = library.pcre2_compile_8(
        text, ctypes.c_size_t(len(text)), ctypes.c_uint32(_CASELESS), ctypes.byref(error), ctypes.byref(offset), None
    )
    if not code:
        raise ValueError(f"error {error.value} at {offset.value}: {pattern}")
    return code, library.pcre2_match_data_create_8(ctypes.c_uint32(1), None)


def matches(pattern: str, text: str) -> bool:
    """Whether an expression matches somewhere in a text of Latin-1, without regard to case."""
    code, room = _compiled(pattern)
    data = text.encode("latin-1")
    found = _library().pcre2_match_8(
        ctypes.c_void_p(code), data, ctypes.c_size_t(len(data)), ctypes.c_size_t(0), ctypes.c_uint32(0),
        ctypes.c_void_p(room), None,
    )  # fmt: skip
    return int(found) >= 0
