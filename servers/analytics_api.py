"""API view of what was served, over time."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from domains.models import Domain
from servers import analytics
from servers.latency import PERCENTILES, served_and_waited
from servers.metric_models import Counters
from servers.models import Server

DEFAULT_LENGTH = timedelta(days=1)


class AnalyticsQuerySerializer(serializers.Serializer[Any]):
    """Which time and what of it. Without `since` the day before `until`, without `until` the present."""

    since = serializers.DateTimeField(required=False, help_text="Counts from the first whole step after it.")
    until = serializers.DateTimeField(required=False, help_text="Counts up to the step that ends there.")
    step = serializers.ChoiceField(
        choices=[(step.value, step.value) for step in analytics.Step],
        required=False,
        help_text="Minutes are kept for an hour, hours for a week, days for a year.",
    )
    domain = serializers.UUIDField(required=False)
    server = serializers.UUIDField(required=False)


class CountsSerializer(serializers.Serializer[Any]):
    """`blocked` is every denied request; of these `challenged` went to the bot check, `limited` were over a rate."""

    def get_fields(self) -> dict[str, Any]:
        """Return a field for each counter."""
        return super().get_fields() | {name: serializers.IntegerField() for name in Counters.COUNTERS}


class LatencySerializer(serializers.Serializer[Any]):
    """Milliseconds until the headers of origins' answers; null where none was measured."""

    def get_fields(self) -> dict[str, Any]:
        """Return a field for each percentile."""
        return super().get_fields() | {name: serializers.FloatField(allow_null=True) for name in PERCENTILES}


class PointSerializer(CountsSerializer):
    """What was counted in one step that begins `at` (UTC)."""

    at = serializers.DateTimeField()
    latency_ms = LatencySerializer()


class AnalyticsSerializer(serializers.Serializer[Any]):
    """What was served. The last point is not over yet when it is the present one."""

    step = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    earliest = serializers.DateTimeField(help_text="Before this the account's plan shows nothing.")
    totals = CountsSerializer()
    latency_ms = LatencySerializer()
    measured = serializers.IntegerField(
        help_text="How many answers the percentiles stand for. Shields under full load measure a sample of them."
    )
    points = PointSerializer(many=True)


class AnalyticsView(APIView):
    """Requests, bytes, status classes, what was blocked and how long origins took, by minute, hour or day."""

    @extend_schema(parameters=[AnalyticsQuerySerializer], responses=AnalyticsSerializer)
    def get(self, request: Request) -> Response:
        """Return the counts of the account, of a domain, of a server, or of a domain on a server."""
        form = AnalyticsQuerySerializer(data=request.query_params)
        form.is_valid(raise_exception=True)
        given, now = form.validated_data, timezone.now()
        for name, rows in (("domain", Domain.objects.all()), ("server", Server.objects.all())):
            if name in given:
                get_object_or_404(rows, pk=given[name])
        until = given.get("until", now)
        step = analytics.Step(given["step"]) if "step" in given else None
        since = given.get("since", until - DEFAULT_LENGTH)
        span = analytics.span_of(since=since, until=until, now=now, step=step)
        narrowed = {"domain": given.get("domain"), "server": given.get("server")}
        found, waited = served_and_waited(span, **narrowed)
        points = zip(found.points, waited.points, *found.counts.values(), strict=True)
        body = {
            "step": span.step,
            "since": span.since,
            "until": span.until,
            "earliest": analytics.earliest(now),
            "totals": found.totals,
            "latency_ms": waited.whole,
            "measured": waited.measured,
            "points": [
                {"at": at, "latency_ms": times, **dict(zip(found.counts, numbers, strict=True))}
                for at, times, *numbers in points
            ],
        }
        return Response(AnalyticsSerializer(body).data)
