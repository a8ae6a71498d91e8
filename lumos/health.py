"""Health endpoints for balancers and supervisors."""

from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis.exceptions import RedisError

from lumos.jobs import reported_troubles


def healthz(request: HttpRequest) -> HttpResponse:
    """Say that the process answers; touches nothing else."""
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether database and Redis answer: 200 or 503, with a word for each. The database is required.

    Jobs in trouble are named, and logged, but leave the process ready: it serves people without them.
    """
    connection.ensure_connection()
    try:
        cache.get("readyz")
        redis = "ok"
    except RedisError:
        redis = "unavailable"
    troubles = dict(reported_troubles())
    return JsonResponse(
        {"database": "ok", "redis": redis, "jobs": troubles or "ok"}, status=200 if redis == "ok" else 503
    )
