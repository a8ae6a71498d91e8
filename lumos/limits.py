"""Counted attempts in Redis: all limits of an attempt are looked at and counted in one atomic step.

A window begins with the first attempt in it and ends `seconds` later, so a limit lets exactly `amount` attempts of a
window through, however many arrive at once.
"""

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import redis
from django.conf import settings

# KEYS: a counter per limit; ARGV: amount and milliseconds per limit. Returns 0, or how many milliseconds to wait.
_TAKE = """
local wait = 0
for i, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * i - 1]) then
    wait = math.max(wait, redis.call('PTTL', key), 1)
  end
end
if wait > 0 then return wait end
for i, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2 * i]) end
end
return 0
"""


class Limit(NamedTuple):
    """At most `amount` attempts of `who` in `seconds`."""

    name: str
    who: str
    amount: int
    seconds: int

    @property
    def key(self) -> str:
        """The counter's key; addresses and e-mail addresses stand in it as hashes."""
        return f"{settings.LIMITS_PREFIX}:{self.name}:{hashlib.sha256(self.who.encode()).hexdigest()[:32]}"


@cache
def _script(url: str) -> Any:
    client = redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=2)
    return client, client.register_script(_TAKE)


def take(limits: Sequence[Limit]) -> int:
    """Count one attempt; return 0, or the seconds to wait if one of the limits is reached (nothing is counted then).

    Raises:
        redis.exceptions.RedisError: Redis does not answer; the caller knows whether to refuse or to let pass.
    """
    numbers = [number for limit in limits for number in (limit.amount, limit.seconds * 1000)]
    wait = _script(settings.REDIS_URL)[1](keys=[limit.key for limit in limits], args=numbers)
    return math.ceil(int(wait) / 1000)


def forget(limits: Sequence[Limit]) -> None:
    """Begin anew."""
    _script(settings.REDIS_URL)[0].delete(*(limit.key for limit in limits))


def network(address: str) -> str:
    """Return whom an address stands for: itself, or the /64 of an IPv6 address, which one customer has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else address
