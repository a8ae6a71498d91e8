"""API of the upgrade of an account's agents."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from accounts.permissions import ADMIN
from servers import install, upgrades
from servers.models import AgentUpgrade, Server


class UpgradedSerializer(serializers.ModelSerializer[Server]):
    """A server that was asked; `error` says why it still runs what it ran."""

    agent_version = serializers.CharField(source="facts.agent_version", default="")
    error = serializers.CharField(source="errand_error")

    class Meta:
        model = Server
        fields = ("id", "name", "agent_version", "errand_asked_at", "error")


class UpgradeSerializer(serializers.ModelSerializer[AgentUpgrade]):
    """One upgrade; `reason` says why it stopped."""

    servers = UpgradedSerializer(many=True)

    class Meta:
        model = AgentUpgrade
        fields = ("id", "version", "state", "reason", "created_at", "servers")


class UpgradeStandSerializer(serializers.Serializer[Any]):
    """What could be done, and what was done last."""

    offered = serializers.CharField(allow_null=True, help_text="The version that this dashboard serves, if any.")
    others = serializers.IntegerField(help_text="How many servers run another version.")
    latest = UpgradeSerializer(allow_null=True)


class AgentUpgradeView(APIView):
    """The upgrade of all agents: one server first, then the others."""

    scopes = {"post": ADMIN, "delete": ADMIN}

    @extend_schema(responses=UpgradeStandSerializer)
    def get(self, request: Request) -> Response:
        """Show which version is offered and how the last upgrade went."""
        version = (install.offered() or (None,))[0]
        others = upgrades.others_than(version).count() if version else 0
        latest = AgentUpgrade.objects.prefetch_related("servers").first()
        return Response(UpgradeStandSerializer({"offered": version, "others": others, "latest": latest}).data)

    @extend_schema(request=None, responses={202: UpgradeSerializer})
    def post(self, request: Request) -> Response:
        """Begin: one server gets the offered version, the others follow when it does well."""
        row = upgrades.start_upgrade(actor=actor(request))
        return Response(UpgradeSerializer(row).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=UpgradeSerializer)
    def delete(self, request: Request) -> Response:
        """Stop: no further server is asked."""
        return Response(UpgradeSerializer(upgrades.stop_upgrade(actor=actor(request))).data)
