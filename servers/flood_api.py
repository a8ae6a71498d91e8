"""API of a server's flood protection."""

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from servers import floods
from servers.forward_parts import flood_settings
from servers.models import Server


class FloodSerializer(serializers.Serializer[Any]):
    """What the kernel of a server does at the ports of sites and TCP forwards; per address (IPv6: /64), 0: no limit."""

    connections = serializers.IntegerField(min_value=0, max_value=1_000_000, help_text="Open at once.")
    new_per_second = serializers.IntegerField(min_value=0, max_value=1_000_000, help_text="Attempts to open one.")
    bans = serializers.BooleanField(help_text="Whether whom the WAF bans is not heard for an hour.")


class FloodView(APIView):
    """Limits against floods, before HAProxy sees a packet."""

    @extend_schema(responses=FloodSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return the limits."""
        return Response(flood_settings(get_object_or_404(Server.objects.all(), pk=pk)))

    @extend_schema(request=FloodSerializer, responses=FloodSerializer)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Change the limits that are given."""
        server = get_object_or_404(Server.objects.all(), pk=pk)
        form = FloodSerializer(data=request.data, partial=True)
        form.is_valid(raise_exception=True)
        row = floods.put_flood(server=server, actor=actor(request), **form.validated_data)
        return Response(flood_settings(row))
