"""API views of servers and metrics."""

import re
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import actor
from accounts.permissions import ADMIN
from lumos.api import CursorPagination
from lumos.errors import InvalidInput
from lumos.filters import TimeFilter
from servers import analytics, decommissioning, enrolment, health, history, preview, reunion, services
from servers.models import ApplyState, HourlyMetric, Server, SnapshotRecord
from servers.restore import restore_snapshot
from servers.serializers import (
    DecommissionSerializer,
    DiffSerializer,
    MetricSerializer,
    PreviewSerializer,
    ProbesSerializer,
    RestoredSerializer,
    ReunionSerializer,
    ServerSerializer,
    ServerWithTokenSerializer,
    SnapshotContentSerializer,
    SnapshotSerializer,
)

CHANGES_SHOWN = 50


class ServerFilter(django_filters.FilterSet):
    """By exact name and state."""

    name = django_filters.CharFilter()
    apply_state = django_filters.ChoiceFilter(choices=ApplyState.choices)


class ServerViewSet(viewsets.ModelViewSet[Server]):
    """Shields. The token is shown once, in the answer to create and to rotate."""

    serializer_class = ServerSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filterset_class = ServerFilter
    scopes = {"rotate_token": ADMIN, "destroy": ADMIN, "decommission": ADMIN}

    def get_queryset(self) -> QuerySet[Server]:
        """Return the servers of the account."""
        return Server.objects.select_related("verdict")

    def _with_token(self, server: Server, token: str, code: int) -> Response:
        body = {"server": server, "token": token, "install": enrolment.install_line(token)}
        return Response(ServerWithTokenSerializer(body).data, status=code)

    @extend_schema(responses={201: ServerWithTokenSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Add a server."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        server, token = services.add_server(actor=actor(request), **form.validated_data)
        return self._with_token(server, token, status.HTTP_201_CREATED)

    def perform_update(self, serializer: Any) -> None:
        """Change name, region or addresses."""
        serializer.instance = services.change_server(
            server=serializer.instance, actor=actor(self.request), **serializer.validated_data
        )

    def perform_destroy(self, instance: Server) -> None:
        """Remove the server."""
        services.remove_server(server=instance, actor=actor(self.request))

    @extend_schema(request=None, responses={200: ServerWithTokenSerializer})
    @action(detail=True, methods=["post"], url_path="rotate-token")
    def rotate_token(self, request: Request, pk: str | None = None) -> Response:
        """Replace the token; the old one stops working at once."""
        server = self.get_object()
        token = enrolment.rotate_token(server=server, actor=actor(request))
        server.refresh_from_db()
        return self._with_token(server, token, status.HTTP_200_OK)

    @extend_schema(request=DecommissionSerializer, responses={202: ServerSerializer})
    @action(detail=True, methods=["post"])
    def decommission(self, request: Request, pk: str | None = None) -> Response:
        """Take the server out of its domains and zones, and let its agent give the machine back.

        The agent restores what it found when it was installed; the server is gone within an hour in any case. Asked
        again, the agent tries again.
        """
        form = DecommissionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        server = decommissioning.decommission_server(
            server=self.get_object(), actor=actor(request), force=form.validated_data["force"]
        )
        return Response(ServerSerializer(server).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=ReunionSerializer, responses=ServerSerializer)
    @action(detail=True, methods=["post"])
    def reunite(self, request: Request, pk: str | None = None) -> Response:
        """Decide what counts for a shield that is held back after the control plane's database was restored."""
        server = self.get_object()
        form = ReunionSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        decide = reunion.take_shields if form.validated_data["counts"] == "shield" else reunion.send_dashboards
        decide(server=server, actor=actor(request))
        server.refresh_from_db()
        return Response(ServerSerializer(server).data)

    @extend_schema(responses=ProbesSerializer)
    @action(detail=True)
    def probes(self, request: Request, pk: str | None = None) -> Response:
        """Show what other shields and Lumos see of this one."""
        server = self.get_object()
        body = {"sights": health.sights_of(server), "changes": server.verdict_changes.all()[:CHANGES_SHOWN]}
        return Response(ProbesSerializer(body).data)

    @extend_schema(responses=PreviewSerializer)
    @action(detail=True)
    def preview(self, request: Request, pk: str | None = None) -> Response:
        """Show the haproxy.cfg that the present rows give, with the paths of a default installation."""
        server = self.get_object()
        body = {"revision": server.revision, "haproxy_cfg": preview.haproxy_cfg(server)}
        return Response(PreviewSerializer(body).data)


class SnapshotViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[SnapshotRecord]):
    """What a server was to run, by revision. The newest 200 revisions are kept."""

    lookup_field = "revision"
    lookup_value_regex = "[0-9]{1,18}"

    def get_serializer_class(self) -> type[SnapshotSerializer]:
        """Return the shape with content for one revision."""
        return SnapshotContentSerializer if self.action == "retrieve" else SnapshotSerializer

    def get_queryset(self) -> QuerySet[SnapshotRecord]:
        """Return the records of the server that the address names; the description of the API names none."""
        if getattr(self, "swagger_fake_view", False):
            return SnapshotRecord.objects.none()
        return history.records(get_object_or_404(Server.objects.all(), pk=self.kwargs["server_pk"]))

    def get_object(self) -> SnapshotRecord:
        """Return the newest record of the revision: after a restored backup a revision can come twice."""
        return self._record(int(self.kwargs["revision"]))

    def _record(self, revision: int) -> SnapshotRecord:
        found = self.get_queryset().filter(revision=revision).first()
        if found is None:
            raise Http404
        return found

    @extend_schema(
        parameters=[OpenApiParameter("against", int, description="The older revision; without it the one before.")],
        responses=DiffSerializer,
    )
    @action(detail=True)
    def diff(self, request: Request, server_pk: str, revision: str) -> Response:
        """Show what changed from revision `against` to this one."""
        against = request.query_params.get("against", "")
        if against and not re.fullmatch(self.lookup_value_regex, against):
            raise InvalidInput(f"“{against[:20]}” is not a revision; give a number, such as 7.", field="against")
        record = self.get_object()
        older = self._record(int(against)) if against else history.previous(record)
        return Response(DiffSerializer(history.compare(record, older)).data)

    @extend_schema(request=None, responses=RestoredSerializer)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, server_pk: str, revision: str) -> Response:
        """Roll back: set the domains of this server, with origins, policies and lists, back to this revision."""
        restored = restore_snapshot(record=self.get_object(), actor=actor(request))
        return Response(RestoredSerializer(restored).data)


class MetricFilter(django_filters.FilterSet):
    """`since` and `until` compare with the start of the hour."""

    since = TimeFilter(field_name="hour", lookup_expr="gte")
    until = TimeFilter(field_name="hour", lookup_expr="lt")
    server = django_filters.UUIDFilter(field_name="server_id")
    domain = django_filters.UUIDFilter(field_name="domain_id")


class HourPagination(CursorPagination):
    """Newest hour first."""

    ordering = ("-hour", "-id")


class MetricViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[HourlyMetric]):
    """Hourly counters per domain and server, for a week at most; /analytics adds them up and knows longer times."""

    serializer_class = MetricSerializer
    filterset_class = MetricFilter
    pagination_class = HourPagination

    def get_queryset(self) -> QuerySet[HourlyMetric]:
        """Return the hours of the account that its plan shows; the description of the API has no account."""
        if getattr(self, "swagger_fake_view", False):
            return HourlyMetric.objects.none()
        return HourlyMetric.objects.filter(hour__gte=analytics.earliest(timezone.now()))
