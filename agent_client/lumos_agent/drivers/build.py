"""Which HAProxy this machine has, and whether it can serve HTTP/3 here."""

import logging
import socket

from msgspec import Struct

from lumos_agent.config import split_listen
from lumos_agent.errors import AgentError
from lumos_agent.render.haproxy import Quic
from lumos_agent.runner import output_of

log = logging.getLogger(__name__)

# Earlier ones keep no socket per QUIC connection, so that each reload would cut the visitors' connections
# (configuration manual 2.8, tune.quic.socket-owner).
QUIC_SINCE = (2, 8)


class Build(Struct, frozen=True):
    """A version, for example 3.0.11, and the names of what is compiled in, for example QUIC."""

    version: str
    features: frozenset[str]

    @property
    def quic(self) -> Quic:
        """What HAProxy's TLS library can do for HTTP/3; without an API for QUIC of its own there is no 0-RTT."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        if "QUIC" not in self.features or (major, minor) < QUIC_SINCE:
            return "off"
        return "limited" if "QUIC_OPENSSL_COMPAT" in self.features else "full"


def build_of(output: str) -> Build:
    """Return what `haproxy -vv` says; `haproxy -v` gives the version alone.

    Raises:
        AgentError: it is not HAProxy's.
    """
    words = output.split()
    if "version" not in words:
        raise AgentError("`haproxy -v` gives no version; install the package haproxy")
    # 2.6.12-1+deb12u4, 3.3-dev5-1a2b3c
    version = words[words.index("version") + 1].partition("-")[0]
    return Build(version, frozenset(word[1:] for word in words if word.startswith("+")))


def installed_build() -> Build:
    """Return the HAProxy that the next start or reload executes.

    Raises:
        AgentError: there is none.
    """
    return build_of(output_of(["haproxy", "-vv"]))


def usable_quic(build: Build, https: tuple[str, ...]) -> Quic:
    """Return what HTTP/3 the listeners can offer: none if another program has a UDP port of theirs.

    HAProxy would not start then, and HTTP/3 is not worth the sites.
    """
    if build.quic == "off":
        return "off"
    for listen in https:
        try:
            _try_udp(listen)
        except OSError as error:
            log.warning("http3_off", extra={"listen": listen, "error": str(error)})
            return "off"
    return build.quic


def _try_udp(listen: str) -> None:
    """Bind a UDP port for a moment, as HAProxy does: its workers share theirs with each other, and with this."""
    host, port = split_listen(listen)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if probe.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((host, port))
