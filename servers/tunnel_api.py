"""API of tunnels."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from accounts.permissions import ADMIN
from lumos.errors import InvalidInput
from servers import tunnel_ends, tunnel_origins, tunnel_parts, tunnels
from servers.tunnel_firewall import firewall_script, parsed_ports
from servers.tunnel_models import Tunnel, TunnelShield, TunnelState


class TunnelStateSerializer(serializers.ModelSerializer[TunnelState]):
    """How the tunnel to one server does, as that server reported it last; `problem` is empty while packets pass."""

    problem = serializers.CharField(read_only=True)

    class Meta:
        model = TunnelState
        fields = ("server", "problem", "handshake_at", "received_bytes", "sent_bytes", "told_at")
        read_only_fields = fields


class TunnelSerializer(serializers.ModelSerializer[Tunnel]):
    """An origin's machine, connected to every server. Domains name it by `hostname` as their origin's address."""

    name = serializers.CharField(max_length=40, help_text="Lower-case letters, digits and hyphens; it stays.")
    hostname = serializers.CharField(read_only=True)
    public_key = serializers.CharField(read_only=True, help_text="Empty before the origin has joined.")
    states = TunnelStateSerializer(many=True, read_only=True)

    class Meta:
        model = Tunnel
        fields = ("id", "name", "hostname", "public_key", "join_expires_at", "fetched_at", "states", "created_at")
        read_only_fields = ("id", "join_expires_at", "fetched_at", "created_at")


class TunnelWithCommandSerializer(serializers.Serializer[Any]):
    """Answer to create and to open-join: the only time that the token is shown."""

    tunnel = TunnelSerializer()
    token = serializers.CharField(help_text="For one machine, once, for 24 hours; only its hash is kept.")
    command = serializers.CharField(help_text="What to run on the origin as root.")


class PublicKeySerializer(serializers.Serializer[Any]):
    """The public key of an origin that is set up by hand."""

    public_key = serializers.CharField(max_length=64)


class ConfigurationSerializer(serializers.Serializer[Any]):
    """What wg-quick(8) reads at the origin; the line PrivateKey is missing, because only the origin has it."""

    configuration = serializers.CharField()


class FirewallSerializer(serializers.Serializer[Any]):
    """A shell script for the origin."""

    script = serializers.CharField()


class TunnelShieldSerializer(serializers.ModelSerializer[TunnelShield]):
    """A server's end. While `rotation_began_at` is set it has two keys, until `waiting_for` is empty."""

    waiting_for = serializers.SerializerMethodField(help_text="Names of tunnels that still use the old key.")

    class Meta:
        model = TunnelShield
        fields = (
            "id",
            "server",
            "port",
            "key_number",
            "public_key",
            "next_public_key",
            "rotation_began_at",
            "waiting_for",
        )
        read_only_fields = fields

    def get_waiting_for(self, row: TunnelShield) -> list[str]:
        """Ask only while the key changes."""
        return tunnel_ends.waiting_for(row) if row.rotation_began_at else []


class TunnelNetworkSerializer(serializers.Serializer[Any]):
    """The private addresses inside the tunnels of the account, and the largest packet, in bytes."""

    network = serializers.CharField(max_length=20)
    mtu = serializers.IntegerField(min_value=tunnels.MTU_MIN, max_value=tunnels.MTU_MAX)


class TunnelFilter(django_filters.FilterSet):
    """By exact name."""

    name = django_filters.CharFilter()


class TunnelViewSet(viewsets.ModelViewSet[Tunnel]):
    """WireGuard tunnels between the account's servers and its origins."""

    serializer_class = TunnelSerializer
    http_method_names = ["get", "post", "delete", "head", "options"]
    filterset_class = TunnelFilter

    def get_queryset(self) -> QuerySet[Tunnel]:
        """Return the tunnels of the account with their states."""
        return Tunnel.objects.prefetch_related("states__server")

    def _with_command(self, tunnel: Tunnel, token: str, code: int) -> Response:
        body = {"tunnel": tunnel, "token": token, "command": tunnels.join_line(token)}
        return Response(TunnelWithCommandSerializer(body).data, status=code)

    @extend_schema(responses={201: TunnelWithCommandSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Add a tunnel; the answer has the command for the origin."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        tunnel, token = tunnels.add_tunnel(name=form.validated_data["name"], actor=actor(request))
        return self._with_command(tunnel, token, status.HTTP_201_CREATED)

    def perform_destroy(self, instance: Tunnel) -> None:
        """Remove the tunnel."""
        tunnels.remove_tunnel(tunnel=instance, actor=actor(self.request))

    @extend_schema(request=None, responses={200: TunnelWithCommandSerializer})
    @action(detail=True, methods=["post"], url_path="open-join")
    def open_join(self, request: Request, pk: str | None = None) -> Response:
        """Make another command for the origin; the one before ends."""
        tunnel = self.get_object()
        token = tunnels.open_join(tunnel=tunnel, actor=actor(request))
        tunnel.refresh_from_db()
        return self._with_command(tunnel, token, status.HTTP_200_OK)

    @extend_schema(request=PublicKeySerializer, responses=ConfigurationSerializer)
    @action(detail=True, methods=["post"], url_path="put-key")
    def put_key(self, request: Request, pk: str | None = None) -> Response:
        """Set the public key of an origin that is set up by hand; answers with its configuration."""
        tunnel = self.get_object()
        form = PublicKeySerializer(data=request.data)
        form.is_valid(raise_exception=True)
        key = form.validated_data["public_key"]
        tunnel = tunnels.put_public_key(tunnel=tunnel, public_key=key, actor=actor(request))
        return Response(ConfigurationSerializer({"configuration": tunnel_origins.configuration(tunnel)}).data)

    @extend_schema(request=None, responses=TunnelSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-key")
    def rotate_key(self, request: Request, pk: str | None = None) -> Response:
        """Let the origin's script make another key when it looks next, within a minute."""
        tunnels.want_new_key(tunnel=self.get_object(), actor=actor(request))
        return Response(TunnelSerializer(self.get_object()).data)

    @extend_schema(responses=ConfigurationSerializer)
    @action(detail=True)
    def configuration(self, request: Request, pk: str | None = None) -> Response:
        """Show the configuration of the origin."""
        return Response(
            ConfigurationSerializer({"configuration": tunnel_origins.configuration(self.get_object())}).data
        )

    @extend_schema(
        parameters=[
            OpenApiParameter("ports", str, description="TCP ports, for example 80,443 (the default)."),
            OpenApiParameter("kind", str, enum=["nftables", "ufw"], description="nftables is the default."),
        ],
        responses=FirewallSerializer,
    )
    @action(detail=True)
    def firewall(self, request: Request, pk: str | None = None) -> Response:
        """Show the script that closes ports of the origin to everybody but the servers."""
        self.get_object()
        kind = request.query_params.get("kind", "nftables")
        if kind not in ("nftables", "ufw"):
            raise InvalidInput("The kinds are nftables and ufw.", field="kind")
        ports = parsed_ports(request.query_params.get("ports", "80,443"))
        text = firewall_script("ufw" if kind == "ufw" else "nftables", tunnel_parts.shield_addresses(), ports)
        return Response(FirewallSerializer({"script": text}).data)


class TunnelShieldViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[TunnelShield]):
    """The servers' ends of the tunnels; they are there while the account has a tunnel."""

    serializer_class = TunnelShieldSerializer
    scopes = {"end_old_key": ADMIN}

    def get_queryset(self) -> QuerySet[TunnelShield]:
        """Return the ends of the account's servers."""
        return TunnelShield.objects.all()

    @extend_schema(request=None, responses=TunnelShieldSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-key")
    def rotate_key(self, request: Request, pk: str | None = None) -> Response:
        """Let the server make another key; the old one ends when no origin uses it any more."""
        tunnel_ends.rotate_shield_key(end=self.get_object(), actor=actor(request))
        return Response(TunnelShieldSerializer(self.get_object()).data)

    @extend_schema(request=None, responses=TunnelShieldSerializer)
    @action(detail=True, methods=["post"], url_path="end-old-key")
    def end_old_key(self, request: Request, pk: str | None = None) -> Response:
        """End the old key now; origins that use it are cut off until they have the new one."""
        tunnel_ends.end_shield_rotation(end=self.get_object(), actor=actor(request))
        return Response(TunnelShieldSerializer(self.get_object()).data)


class TunnelNetworkView(APIView):
    """The addresses inside the tunnels. Change them if they collide with the network of an origin."""

    @extend_schema(responses=TunnelNetworkSerializer)
    def get(self, request: Request) -> Response:
        """Show them."""
        return Response(TunnelNetworkSerializer(tunnel_parts.network()).data)

    @extend_schema(request=TunnelNetworkSerializer, responses=TunnelNetworkSerializer)
    def put(self, request: Request) -> Response:
        """Give all ends other addresses; origins with the script follow within a minute."""
        form = TunnelNetworkSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        row = tunnels.change_network(network_text=data["network"], mtu=data["mtu"], actor=actor(request))
        return Response(TunnelNetworkSerializer(row).data)
