"""API views of notifications, channels, deliveries and maintenance windows."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import actor
from notifications import channels, confirmation, maintenance, resending
from notifications.filters import DeliveryFilter, NotificationFilter
from notifications.models import Channel, Delivery, MaintenanceWindow, Notification
from notifications.serializers import (
    ChannelSecretSerializer,
    ChannelSerializer,
    DeliveryDetailSerializer,
    DeliverySerializer,
    MaintenanceSerializer,
    NewChannelSerializer,
    NotificationSerializer,
)


class NotificationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Notification]):
    """What happened, newest first; kept for 30 days."""

    serializer_class = NotificationSerializer
    filterset_class = NotificationFilter

    def get_queryset(self) -> QuerySet[Notification]:
        """Return the notifications of the account."""
        return Notification.objects.all()


class ChannelViewSet(viewsets.ModelViewSet[Channel]):
    """Where notifications go."""

    serializer_class = ChannelSerializer
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> QuerySet[Channel]:
        """Return the channels of the account."""
        return Channel.objects.all()

    @extend_schema(responses={201: NewChannelSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Add a channel; the answer shows a webhook's secret once."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        row, secret = channels.add_channel(actor=actor(request), **{"target": "", **form.validated_data})
        shown = NewChannelSerializer(row, context={"secret": secret})
        return Response(shown.data, status=status.HTTP_201_CREATED)

    def perform_update(self, serializer: Any) -> None:
        """Change a channel."""
        values = {name: value for name, value in serializer.validated_data.items() if name != "kind"}
        serializer.instance = channels.change_channel(channel=serializer.instance, actor=actor(self.request), **values)

    def perform_destroy(self, instance: Channel) -> None:
        """Remove a channel with its log."""
        channels.remove_channel(channel=instance, actor=actor(self.request))

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Tell the channel a test message; the delivery says how it goes."""
        return Response(DeliverySerializer(resending.send_test(channel=self.get_object(), actor=actor(request))).data)

    @extend_schema(request=None, responses=ChannelSerializer)
    @action(detail=True, methods=["post"])
    def ask(self, request: Request, pk: str) -> Response:
        """Ask an e-mail address again whether it agrees to be told."""
        channel = self.get_object()
        with transaction.atomic():
            confirmation.ask(channel)
        return Response(ChannelSerializer(channel).data)

    @extend_schema(request=None, responses=ChannelSecretSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-secret")
    def rotate_secret(self, request: Request, pk: str) -> Response:
        """Give a webhook a new secret; the previous one signs too for a day."""
        channel = self.get_object()
        secret = channels.rotate_secret(channel=channel, actor=actor(request))
        channel.refresh_from_db()
        shown = {"secret": secret, "previous_until": channel.previous_until}
        return Response(ChannelSecretSerializer(shown).data)


class DeliveryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Delivery]):
    """What was told to whom, and how that went; kept for 30 days."""

    filterset_class = DeliveryFilter

    def get_queryset(self) -> QuerySet[Delivery]:
        """Return the deliveries of the account."""
        rows = Delivery.objects.select_related("notification")
        return rows if self.action == "list" else rows.prefetch_related("attempts")

    def get_serializer_class(self) -> Any:
        """Show attempts with single deliveries."""
        return DeliverySerializer if self.action == "list" else DeliveryDetailSerializer

    @extend_schema(request=None, responses=DeliveryDetailSerializer)
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, pk: str) -> Response:
        """Try again at once; the receiver sees the same `webhook-id`."""
        return Response(DeliveryDetailSerializer(resending.resend(delivery=self.get_object())).data)


class MaintenanceViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[MaintenanceWindow],
):
    """Times in which nothing is told."""

    serializer_class = MaintenanceSerializer

    def get_queryset(self) -> QuerySet[MaintenanceWindow]:
        """Return the windows of the account, past ones included."""
        return MaintenanceWindow.objects.select_related("created_by")

    def perform_create(self, serializer: Any) -> None:
        """Plan a window."""
        serializer.instance = maintenance.add_window(actor=actor(self.request), **serializer.validated_data)

    def perform_destroy(self, instance: MaintenanceWindow) -> None:
        """End a window."""
        maintenance.remove_window(window=instance, actor=actor(self.request))
