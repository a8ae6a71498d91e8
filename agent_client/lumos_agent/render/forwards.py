"""TCP forwards -> the configuration of a HAProxy of their own.

It is another process than the one of the sites, so that a connection that lasts for days does not end with the reloads
that sites need: HAProxy's old workers stay for their connections, and here they may.
"""

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from lumos_agent.config import split_listen
from lumos_agent.forward import Forward
from lumos_agent.render.words import bracketed

OLD_WORKERS_MAX = 8
KEPT_SECONDS = 12 * 3600
TABLE_SIZE = 100_000

_TARGET = re.compile(r"(?m)^(    server t )\S+")
_LISTEN = re.compile(r"(?m)^listen f-(\S+)\n(?:    .*\n)*?    server t (\S+)")
_PROXY = {"off": "", "v1": " send-proxy", "v2": " send-proxy-v2"}


class Rendered(NamedTuple):
    """The file; `structure` is the same for two files that differ in the addresses of targets alone."""

    text: str
    structure: str


def render_tcp(
    forwards: Sequence[Forward], *, listens: Sequence[str], socket: str, proxies: Sequence[str] = ()
) -> Rendered | None:
    """Return the configuration for the addresses that the shield listens on; None if nothing is forwarded by TCP.

    `proxies` are networks whose connections begin with a PROXY protocol header.
    """
    chosen = [forward for forward in forwards if forward.protocol == "tcp"]
    if not chosen:
        return None
    hosts = sorted({split_listen(listen)[0] for listen in listens})
    needs_names = any(not _is_ip(forward.target) for forward in chosen)
    body = _HEAD.format(socket=socket, reloads=OLD_WORKERS_MAX, kept=KEPT_SECONDS)
    body += _RESOLVERS if needs_names else ""
    body += "".join([_section(forward, hosts, proxies) for forward in chosen])
    structure = hashlib.sha256(_TARGET.sub(_without_address, body).encode()).hexdigest()
    return Rendered(body.replace("DIGEST", structure, 1), structure)


_HEAD = """# Written by lumos-agent: the TCP forwards of this shield.
global
    master-worker
    description DIGEST
    mworker-max-reloads {reloads}
    hard-stop-after {kept}s
    stats socket {socket} mode 600 level admin expose-fd listeners
    stats timeout 1h

defaults
    mode tcp
    timeout connect 5s
    retries 2
    option redispatch
    option contstats
"""

_RESOLVERS = """
resolvers lumos
    parse-resolv-conf
    hold valid 10s
    hold obsolete 30s
"""


def _section(forward: Forward, hosts: Sequence[str], proxies: Sequence[str]) -> str:
    lines = [f"listen f-{forward.id}"]
    lines += [f"bind {bracketed(host)}:{forward.port}{' v6only' if ':' in host else ''}" for host in hosts]
    lines += [f"timeout client {forward.idle_seconds}s", f"timeout server {forward.idle_seconds}s"]
    if proxies:
        lines.append(f"tcp-request connection expect-proxy layer4 if {{ src {' '.join(proxies)} }}")
    if forward.connections:
        lines += [
            f"stick-table type ipv6 size {TABLE_SIZE} expire 1m store conn_cur",
            "tcp-request session track-sc0 src,ipmask(32,64)",
            f"tcp-request session reject if {{ sc0_conn_cur gt {forward.connections} }}",
        ]
    names = "" if _is_ip(forward.target) else " resolvers lumos init-addr last,libc,none"
    target = f"{bracketed(forward.target)}:{forward.target_port}"
    lines.append(f"server t {target}{_PROXY[forward.proxy_protocol]}{names}")
    return "\n" + "\n    ".join(lines) + "\n"


def _without_address(line: re.Match[str]) -> str:
    """Leave of a target what cannot be changed in a running HAProxy: that it is a name, and which."""
    host = line[0].split()[-1].rpartition(":")[0].strip("[]")
    return line[1] if _is_ip(host) else line[0]


def targets_of(text: str) -> dict[str, tuple[str, int]]:
    """Return {forward id: (address, port)} of a rendered file."""
    found = {}
    for name, place in _LISTEN.findall(text):
        host, _, port = place.rpartition(":")
        found[name] = (host.strip("[]"), int(port))
    return found


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
