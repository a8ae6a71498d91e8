"""API views of API keys."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys
from accounts.authentication import actor
from accounts.models import ApiKey
from accounts.permissions import ADMIN
from accounts.roles import Thing
from accounts.serializers import ApiKeySerializer, NewApiKeySerializer


class ApiKeyViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[ApiKey],
):
    """Keys for programs. Only owners and admins see and make them."""

    serializer_class = ApiKeySerializer
    thing = Thing.API_KEYS
    scopes = {"list": ADMIN, "retrieve": ADMIN, "create": ADMIN, "destroy": ADMIN}

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return the keys of the account."""
        return ApiKey.objects.all()

    @extend_schema(responses={201: NewApiKeySerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a key and show it once."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        row, key = api_keys.create_api_key(actor=actor(request), **form.validated_data)
        shown = NewApiKeySerializer(row, context={"key": key})
        return Response(shown.data, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: ApiKey) -> None:
        """Revoke the key."""
        api_keys.revoke_api_key(key=instance, actor=actor(self.request))
