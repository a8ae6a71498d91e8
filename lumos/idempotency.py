"""Idempotency-Key: a request that is sent again is answered as it was the first time, and done once.

The answer is a row, written in the transaction of the request itself: while one request works, an equal one waits at
the row's unique key; what failed leaves no row, and may be tried again. Answers can carry a key that is shown once, so
they are sealed with the Idempotency-Key, of which only a hash is kept.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.authentication import caller_of
from accounts.models import IdempotentAnswer
from accounts.tenancy import tenant_scope
from lumos.problems import problem_json
from lumos.secrets import derived_box

KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("Location", "ETag")


class IdempotencyMiddleware:
    """For POST below /api/v1/ with the header; the innermost but for conditional requests."""

    def __init__(self, get_response: Callable[[Any], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponseBase:
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method != "POST" or not request.path.startswith("/api/v1/"):
            return self.get_response(request)
        if not _KEY.fullmatch(key):
            detail = "Idempotency-Key is 1 to 255 printable ASCII characters without blanks; a UUID is good."
            return problem_json(400, "validation", "Some fields are not valid", detail)
        caller = caller_of(request)
        if caller is None:
            return self.get_response(request)
        try:
            columns = {"caller": caller.name, "key_hash": _hash(key), "request_hash": _request_hash(request)}
        except RequestDataTooBig:
            return self.get_response(request)
        with tenant_scope(caller.account_id), transaction.atomic():
            return self._once(request, key, columns)

    def _once(self, request: Any, key: str, columns: dict[str, str]) -> HttpResponseBase:
        expired = timezone.now() - KEPT
        same = IdempotentAnswer.objects.filter(caller=columns["caller"], key_hash=columns["key_hash"])
        same.filter(created_at__lt=expired).delete()
        row = IdempotentAnswer(**columns)
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            return _again(same.get(), key, columns["request_hash"])
        response = self.get_response(request)
        if response.status_code >= 300 or response.streaming:
            transaction.set_rollback(True)
        else:
            IdempotentAnswer.objects.filter(pk=row.pk).update(answer=_packed(response, key))
        return response


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _request_hash(request: Any) -> str:
    return hashlib.sha256(request.get_full_path().encode() + b"\n" + request.body).hexdigest()


def _box(key: str) -> Fernet:
    return derived_box(settings.SECRET_KEY + key, "idempotent answers")


def _packed(response: Any, key: str) -> bytes:
    headers = {name: response[name] for name in (*_KEPT_HEADERS, "Content-Type") if name in response}
    plain = json.dumps({"status": response.status_code, "headers": headers, "body": response.content.decode()})
    return _box(key).encrypt(plain.encode())


def _again(row: IdempotentAnswer, key: str, request_hash: str) -> HttpResponse:
    if row.request_hash != request_hash:
        detail = (
            "This Idempotency-Key was used for another request within 24 hours. Choose a new key for a new request."
        )
        return problem_json(422, "idempotency_key_reused", "Idempotency-Key was used before", detail)
    found = json.loads(_box(key).decrypt(bytes(row.answer)))
    response = HttpResponse(found["body"], status=found["status"], headers=found["headers"])
    response["Idempotent-Replayed"] = "true"
    return response
