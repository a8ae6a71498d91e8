"""The maps that bring the customers' own Lua to the engine (lua/scripted.lua reads them).

A value of scripts.map names a program by its hash; script_parts.map has its parts. So a request carries a few bytes,
and a program changes at one moment: its parts are added before it is named, and removed after.
"""

import base64
import hashlib
from collections.abc import Iterator
from functools import lru_cache

from lumos_agent.schema import Domain
from lumos_agent.script import compiled

_HASH_CHARACTERS = 32
PART_BYTES = 6 * 1024


@lru_cache(maxsize=512)
def _parts(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a program, and its parts in Base64."""
    data = text.encode()
    parts = [base64.b64encode(data[at : at + PART_BYTES]).decode() for at in range(0, len(data), PART_BYTES)]
    return hashlib.sha256(data).hexdigest()[:_HASH_CHARACTERS], tuple(parts)


def script_entries(domain: Domain) -> Iterator[tuple[str, str, str]]:
    """Yield (map, key, value) for the script of a domain."""
    program = compiled(domain.script.source)
    name, parts = _parts(program.text)
    kind = "body" if program.reads_body else "plain"
    yield "scripts", domain.id, f"{kind} {domain.script.fails} {name} {len(parts)}"
    for number, text in enumerate(parts, 1):
        yield "script_parts", f"{name}:{number}", text
