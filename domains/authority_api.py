"""API of the account's certificate authority."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from domains import authorities
from domains.acme import authority
from domains.serializers import RecipientSerializer, SealedKeySerializer


class AuthoritySerializer(serializers.Serializer[Any]):
    """The CA that all shields order from; an empty `directory_url` means the installation's."""

    directory_url = serializers.CharField(allow_blank=True, max_length=520)
    email = serializers.CharField(allow_blank=True, max_length=320, default="")
    external_key_id = serializers.CharField(
        allow_blank=True, max_length=256, default="", help_text="Of an external account (RFC 8555, 7.3.4)."
    )
    keys = SealedKeySerializer(
        many=True, write_only=True, default=list, help_text="The account's MAC key (base64url), sealed to each server."
    )
    recipients = RecipientSerializer(many=True, read_only=True)


class AuthorityView(APIView):
    """Which CA certificates come from. The MAC key of an external account is sealed to the servers beforehand."""

    @extend_schema(responses=AuthoritySerializer)
    def get(self, request: Request) -> Response:
        """Return the choice, and the keys that a MAC key is sealed to (HPKE, RFC 9180; info: the server's id)."""
        return Response(_shown())

    @extend_schema(request=AuthoritySerializer, responses=AuthoritySerializer)
    def put(self, request: Request) -> Response:
        """Replace the choice; certificates that are there stay until they are due."""
        form = AuthoritySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = dict(form.validated_data)
        keys = {str(row["server"]): row["sealed_key"] for row in data.pop("keys")}
        authorities.put_authority(**data, sealed_keys=keys, actor=actor(request))
        return Response(_shown())


def _shown() -> Any:
    row = authority()
    values: dict[str, Any] = {"directory_url": "", "email": "", "external_key_id": ""}
    if row is not None:
        values = {name: getattr(row, name) for name in values}
    return AuthoritySerializer(values | {"recipients": authorities.recipients()}).data
