"""API views of the account's configuration as one document."""

import hashlib
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from accounts.permissions import ADMIN, grants_of
from domains import config_document
from domains.config_export import account_state
from domains.config_import import import_config, planned
from domains.config_plan import Plan
from lumos.errors import InvalidInput

_DOCUMENT = {"application/json": {"$ref": "#/components/schemas/ConfigDocument"}}
_FLAGS = {"true": True, "false": False}


class StepSerializer(serializers.Serializer[Any]):
    """One thing to create, change or delete."""

    what = serializers.ChoiceField(choices=("account", "tunnel", "server", "domain", "zone", "channel"))
    name = serializers.CharField()
    fields = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(), help_text="{field: [before, after]}"
    )


class PlanSerializer(serializers.Serializer[Any]):
    """What applying a document does, or with `dry_run` would do."""

    dry_run = serializers.BooleanField()
    create = StepSerializer(many=True)  # type: ignore[assignment]
    change = StepSerializer(many=True)
    delete = StepSerializer(many=True)
    servers_without_token = serializers.ListField(
        child=serializers.CharField(),
        help_text="New servers. Rotate the token of each and enrol its agent with the new one.",
    )
    webhooks_without_secret = serializers.ListField(
        child=serializers.CharField(), help_text="New webhooks. Rotate the secret of each to see it."
    )


class ConfigView(APIView):
    """The configuration of the account as one document: exported, edited and applied."""

    @extend_schema(responses={(200, "application/json"): _DOCUMENT["application/json"]})
    def get(self, request: Request) -> HttpResponse:
        """Return the whole configuration, without secrets, ids and times; equal configurations give equal bytes."""
        data = config_document.encoded(account_state().document())
        headers = {
            "Content-Disposition": 'attachment; filename="lumos-config.json"',
            "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        }
        return HttpResponse(data, content_type="application/json", headers=headers)

    @extend_schema(
        parameters=[
            OpenApiParameter("dry_run", bool, description="Only show the plan. Default: false."),
            OpenApiParameter(
                "prune", bool, description="Delete what a section of the document lacks; for admins. Default: false."
            ),
        ],
        request=_DOCUMENT,
        responses=PlanSerializer,
    )
    def put(self, request: Request) -> Response:
        """Make the account as a document says: all of it or nothing, and nothing at the second time.

        What the document does not name stays as it is.
        """
        dry_run, prune = _flag(request, "dry_run"), _flag(request, "prune")
        if prune and not grants_of(request).may(ADMIN):
            raise exceptions.PermissionDenied("Only owners and admins may apply a document with prune=true.")
        document = config_document.parsed(_body(request))
        if dry_run:
            found = planned(document, prune=prune)
        else:
            found = import_config(document=document, prune=prune, actor=actor(request))
        return Response(_answer(found, dry_run=dry_run))


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in _FLAGS:
        raise InvalidInput(f"{name} is true or false, not “{text[:20]}”.", field=name)
    return _FLAGS[text]


def _body(request: Request) -> bytes:
    """Return the body as it came: the document has its own decoder, which names places."""
    if (request.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise exceptions.UnsupportedMediaType(request.content_type)
    return request._request.body


def _answer(found: Plan, *, dry_run: bool) -> dict[str, Any]:
    new = [step.name for step in found.servers if step.before is None]
    hooks = [
        step.name for step in found.channels if step.before is None and step.after and step.after.kind == "webhook"
    ]
    shown = found.shown()
    return {"dry_run": dry_run, **shown, "servers_without_token": new, "webhooks_without_secret": hooks}
