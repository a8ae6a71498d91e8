"""Rows -> forwards of a snapshot: pure."""

from lumos_agent.forward import Forward as ForwardPart
from servers.forward_models import Forward
from servers.models import Server

PART_FIELDS = tuple(name for name in ForwardPart.__struct_fields__ if name != "id")


def forward_parts(server: Server) -> tuple[ForwardPart, ...]:
    """Return what a server passes on, sorted by protocol and port."""
    rows = Forward.objects.filter(server=server, enabled=True).order_by("protocol", "port")
    return tuple(ForwardPart(id=str(values.pop("pk")), **values) for values in rows.values("pk", *PART_FIELDS))
