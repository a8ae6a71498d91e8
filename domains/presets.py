"""Traffic settings that suit a kind of site: a start, which its owner then changes as he likes."""

import uuid
from typing import Any, NamedTuple

from accounts.models import User
from domains.models import Domain
from domains.services import change_domain
from lumos.errors import InvalidInput

MEGABYTE = 1024 * 1024


class Preset(NamedTuple):
    """What it is called, what it does in a sentence, and the settings that it sets; others stay."""

    title: str
    text: str
    traffic: dict[str, Any]


_NO_SNIFFING = {"on": "response", "action": "set", "name": "X-Content-Type-Options", "value": "nosniff"}
_NO_VERSION = {"on": "response", "action": "remove", "name": "X-Powered-By"}
PRESETS = {
    "wordpress": Preset(
        "WordPress",
        "HTTPS only, compression, uploads up to 128 MB, long answers of its admin pages; hides the PHP version.",
        {
            "https_redirect": True,
            "compression": True,
            "cache": False,
            "body_bytes_max": 128 * MEGABYTE,
            "timeouts": {"server_seconds": 120},
            "headers": [_NO_VERSION, _NO_SNIFFING],
        },
    ),
    "static": Preset(
        "Static site",
        "HTTPS only, compression, a cache for small files; no WebSockets and no uploads.",
        {
            "https_redirect": True,
            "compression": True,
            "cache": True,
            "websockets": False,
            "body_bytes_max": MEGABYTE,
            "headers": [_NO_SNIFFING],
        },
    ),
    "api": Preset(
        "API",
        "The least busy origin, compression, bodies up to 10 MB, answers within 30 seconds; no cache.",
        {
            "balance": "leastconn",
            "compression": True,
            "cache": False,
            "body_bytes_max": 10 * MEGABYTE,
            "timeouts": {"server_seconds": 30},
        },
    ),
    "realtime": Preset(
        "Chat, games, live pages",
        "WebSockets that stay open for a day, visitors who stay with their origin.",
        {
            "websockets": True,
            "balance": "leastconn",
            "sticky_cookie": "lumos_origin",
            "timeouts": {"tunnel_seconds": 86_400},
        },
    ),
}


def apply_preset(*, domain_id: uuid.UUID, name: str, actor: User) -> Domain:
    """Set what a preset sets.

    Raises:
        InvalidInput: there is none of that name.
        Domain.DoesNotExist: it is gone.
    """
    if name not in PRESETS:
        raise InvalidInput(f"Choose one of {', '.join(PRESETS)}.", field="preset")
    return change_domain(domain_id=domain_id, actor=actor, traffic=PRESETS[name].traffic)
