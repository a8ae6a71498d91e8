"""Limits of the API: per key (or person) and per account, and on keys that do not exist."""

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from lumos.limits import Limit, forget, network, take

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
WRONG_KEYS_PER_MINUTE = 60


def _of_caller(caller: str) -> Limit:
    return Limit("api:caller", caller, settings.API_REQUESTS_PER_MINUTE, WINDOW_SECONDS)


def _of_account(account_id: uuid.UUID) -> Limit:
    return Limit("api:account", str(account_id), settings.API_ACCOUNT_REQUESTS_PER_MINUTE, WINDOW_SECONDS)


class ApiThrottle(BaseThrottle):
    """Requests per minute; without Redis all of them pass."""

    _wait = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count the request."""
        http: Any = request._request
        if http.account is None:
            return True
        caller = str(request.auth.pk if request.auth else request.user.pk)
        self._wait = _taken([_of_caller(caller), _of_account(http.account.pk)])
        return self._wait == 0

    def wait(self) -> float:
        """Return for how many seconds."""
        return self._wait


def count_wrong_key(address: str) -> None:
    """Count a key that does not exist.

    Raises:
        Throttled: the client's address has sent too many of them.
    """
    if wait := _taken([Limit("api:wrong", network(address), WRONG_KEYS_PER_MINUTE, WINDOW_SECONDS)]):
        raise Throttled(wait)


def forget_account(account_id: uuid.UUID, callers: Iterable[uuid.UUID]) -> None:
    """Drop the counters of an account and of its keys and people."""
    try:
        forget([_of_account(account_id), *(_of_caller(str(caller)) for caller in callers)])
    except RedisError as error:
        log.warning("limits_unavailable", extra={"error": str(error)})


def _taken(limits: list[Limit]) -> int:
    try:
        return take(limits)
    except RedisError as error:
        log.warning("limits_unavailable", extra={"error": str(error)})
        return 0
