"""API of looks for leaking origins."""

import uuid
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from domains import leak_checks
from domains.leak_models import Clue, ClueState, LeakCheck
from domains.models import Domain


class LeakFindingSerializer(serializers.Serializer[Any]):
    """What one clue says of where the origins are, and what to do."""

    clue = serializers.ChoiceField(choices=Clue.choices)
    state = serializers.ChoiceField(choices=ClueState.choices)
    text = serializers.CharField()


class LeakCheckSerializer(serializers.Serializer[LeakCheck]):
    """What the newest look for a domain's origins found; `is_awaited` while another one goes on."""

    asked_at = serializers.DateTimeField(allow_null=True)
    looked_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    is_awaited = serializers.BooleanField()
    leaks = serializers.IntegerField()
    findings = LeakFindingSerializer(many=True)


class OriginCheckView(APIView):
    """Whether the public Internet can find a domain's origins."""

    @extend_schema(responses=LeakCheckSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return what the newest look found: direct answers, DNS, mail, certificates. There is one each week."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        row = LeakCheck.objects.filter(domain=domain).first() or LeakCheck(domain=domain)
        return Response(LeakCheckSerializer(row).data)

    @extend_schema(request=None, responses=LeakCheckSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Look now; takes up to a minute."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        return Response(LeakCheckSerializer(leak_checks.ask(domain_id=domain.pk, actor=actor(request))).data)
