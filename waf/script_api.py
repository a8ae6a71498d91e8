"""API view of a domain's own Lua, and of trying it."""

import uuid
from typing import Any

import msgspec
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from domains.models import Domain
from lumos_agent.schema import Script
from lumos_agent.script import SCRIPT_BYTES_MAX
from waf import scripts
from waf.serializers import EventSerializer

MODES = ("off", "on")


class ScriptSerializer(serializers.Serializer[Any]):
    """The customer's own Lua of a domain; docs/lua.md tells what it can use."""

    mode = serializers.ChoiceField(choices=MODES, required=False)
    fails = serializers.ChoiceField(
        choices=("open", "closed"),
        required=False,
        help_text="What a request gets when the script fails: it passes (open) or is answered 500 (closed).",
    )
    source = serializers.CharField(  # type: ignore[assignment]
        required=False, allow_blank=True, trim_whitespace=False, max_length=SCRIPT_BYTES_MAX, help_text="Lua 5.3."
    )


class ScriptShownSerializer(ScriptSerializer):
    """The script, and the latest events in which it failed or logged something within a day."""

    troubles = EventSerializer(many=True)


class ScriptTrialRequestSerializer(serializers.Serializer[Any]):
    """A request to try a script on; without `source` the one that is stored."""

    source = serializers.CharField(  # type: ignore[assignment]
        required=False, allow_blank=True, trim_whitespace=False, max_length=SCRIPT_BYTES_MAX
    )
    request = serializers.CharField(trim_whitespace=False, help_text="Raw HTTP/1.1 request.")
    client = serializers.IPAddressField(default="192.0.2.7")
    country = serializers.RegexField(r"\A(?:[A-Z]{2})?\Z", default="", allow_blank=True)
    scheme = serializers.ChoiceField(choices=("http", "https"), default="https")


class ScriptTrialSerializer(serializers.Serializer[Any]):
    """What the script decided; `failure` is empty unless it failed."""

    failure = serializers.CharField()
    decision = serializers.ChoiceField(choices=("pass", "answer", "drop"), source="kind")
    status = serializers.IntegerField(allow_null=True)
    steps = serializers.IntegerField(help_text="What it took of the limit on steps.")
    headers = serializers.ListField(child=serializers.CharField())
    body = serializers.CharField()
    changes = serializers.ListField(child=serializers.CharField(), help_text="What it changes of the request.")
    logs = serializers.ListField(child=serializers.CharField())


class ScriptView(APIView):
    """What a domain's own Lua is."""

    @extend_schema(responses=ScriptShownSerializer)
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return the script, and what went wrong with it lately."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        return Response(_shown(domain))

    @extend_schema(request=ScriptSerializer, responses=ScriptShownSerializer)
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Change what is given; a script is checked before it is accepted."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        form = ScriptSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = scripts.canonical_script({**_plain(scripts.script_of(domain.pk)), **form.validated_data})
        scripts.put_script(domain=domain, wanted=wanted, actor=actor(request))
        return Response(_shown(domain))


class ScriptTrialView(APIView):
    """Trying a script."""

    @extend_schema(request=ScriptTrialRequestSerializer, responses=ScriptTrialSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        """Run a script on a request as a shield would; nothing is stored or sent anywhere."""
        domain = get_object_or_404(Domain.objects.all(), pk=pk)
        form = ScriptTrialRequestSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        given = {"source": scripts.script_of(domain.pk).source, **form.validated_data}
        found = scripts.try_on(**{**given, "request": given["request"].encode()})
        return Response(ScriptTrialSerializer(found).data)


def _plain(part: Script) -> dict[str, Any]:
    return msgspec.structs.asdict(part)


def _shown(domain: Domain) -> dict[str, Any]:
    troubles = EventSerializer(scripts.troubles(domain), many=True).data
    return {**_plain(scripts.script_of(domain.pk)), "troubles": troubles}
