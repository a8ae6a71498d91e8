"""What the kernel of a shield does against floods, before HAProxy sees a packet."""

from typing import Annotated

from msgspec import Meta

from lumos_agent.forward import Limit
from lumos_agent.grammar import Network
from lumos_agent.traffic import Setting

BAN_SECONDS = 3600
SPARED_MAX = 20_000


class FloodLimits(Setting, frozen=True, kw_only=True):
    """Limits for one client address (IPv6: /64) at the ports of sites and TCP forwards; 0 is no limit.

    `connections` are those open at once, `new_per_second` attempts to open one (SYN). With `bans`, a client that goes
    over a rate whose action is ban is not heard there for `BAN_SECONDS`. Networks in `spared` are never limited or
    banned. Nothing here concerns other ports, so no one is locked out of SSH, and the control plane is always heard.
    """

    connections: Limit = 0
    new_per_second: Limit = 0
    bans: bool = False
    spared: Annotated[tuple[Network, ...], Meta(max_length=SPARED_MAX)] = ()

    def is_on(self) -> bool:
        """Whether the kernel has anything to do."""
        return bool(self.connections or self.new_per_second or self.bans)
