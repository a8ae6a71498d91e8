"""API view of a domain's rate rules and bot check."""

import uuid
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from domains.models import Domain
from domains.traffic import shown
from lumos_agent.guard import RATES_MAX, WINDOWS_SECONDS
from waf import guards
from waf.compiler import is_under_attack


class GuardSerializer(serializers.Serializer[Any]):
    """Rate rules and bot check of one domain, as the agent's schema has them (lumos_agent.guard)."""

    rates = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text=(
            f"At most {RATES_MAX} rules with id, requests (1-100000), window_seconds "
            f"({', '.join(map(str, WINDOWS_SECONDS))}), key (address, address-and-path, token, cookie), name, path, "
            "methods, header, statuses, action (limit, challenge)."
        ),
    )
    bot_check = serializers.DictField(
        required=False,
        help_text=(
            "mode (off, suspicious, always), level (low, medium, high), under_attack, escalation (off, auto: "
            "every visitor is checked while the shield sees an attack), exempt_paths, exempt_methods, token_headers."
        ),
    )


class UnderAttackSerializer(serializers.Serializer[Any]):
    """The account's switch: while it is on, every visitor of every domain must pass the bot check."""

    under_attack = serializers.BooleanField()


class UnderAttackView(APIView):
    """The account's "under attack" switch."""

    @extend_schema(responses=UnderAttackSerializer)
    def get(self, request: Request) -> Response:
        """Return where it stands."""
        return Response({"under_attack": is_under_attack()})

    @extend_schema(request=UnderAttackSerializer, responses=UnderAttackSerializer)
    def patch(self, request: Request) -> Response:
        """Turn it; no shield reloads."""
        form = UnderAttackSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        guards.put_under_attack(under_attack=form.validated_data["under_attack"], actor=actor(request))
        return Response({"under_attack": is_under_attack()})


class GuardView(APIView):
    """What a domain asks of its visitors besides its policy."""

    @extend_schema(responses=GuardSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return all settings, those too that have their default."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        return Response(shown(guards.guard_of(domain.pk)))

    @extend_schema(request=GuardSerializer, responses=GuardSerializer)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Replace `rates`, or change what `bot_check` names."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        guards.put_guard(domain=domain, wanted=guards.merged_guard(domain.pk, request.data), actor=actor(request))
        return Response(shown(guards.guard_of(domain.pk)))
