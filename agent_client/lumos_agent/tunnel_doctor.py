"""What keeps a tunnel from working: from what the running agent noted, and from packets sent to the origin.

The doctor has no rights of its own over interfaces; the agent has, and writes `Notes` into its status.
"""

import os
import select
import shutil
import socket
import struct
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lumos_agent.drivers import wireguard_device as device
from lumos_agent.tunnel import ALIVE_SECONDS

_ECHO_SECONDS = 1.0
_ICMP_HEADERS = 28  # IPv4 and ICMP
_SMALL, _LEAST = 100, 1180
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3  # ip(7); with it the kernel cuts nothing and sets "don't fragment"


class Note(Struct, frozen=True):
    """One tunnel: `handshake_at` in Unix seconds, 0: never."""

    name: str
    address: str
    handshake_at: float


class Notes(Struct, frozen=True):
    """What the agent knows: UDP ports, and whether in the last minute handshakes that origins began were dropped by the
    machine's own rules (`filtered`) or got no answer (`refused`). `counts` is false where nobody can tell.
    """

    interfaces: tuple[str, ...]
    ports: tuple[int, ...]
    mtu: int
    counts: bool
    filtered: bool
    refused: bool
    tunnels: tuple[Note, ...]


Words = tuple[str, str]  # what is wrong, and what to do


def notes_of(status: dict[str, Any] | None) -> Notes | None:
    """Return what the agent noted, None if it has no tunnels."""
    noted = (status or {}).get("tunnels")
    return msgspec.convert(noted, Notes) if noted else None


def problems(notes: Notes, now: float) -> list[Words]:
    """Return everything that is wrong; `now` in Unix seconds."""
    there = {name for _, name in socket.if_nameindex()}
    gone = [name for name in notes.interfaces if name not in there]
    if gone:
        return [_no_interface(gone[0])]
    found = []
    for tunnel in notes.tunnels:
        is_alive = now - tunnel.handshake_at <= ALIVE_SECONDS
        words = _too_large(tunnel, notes.mtu) if is_alive else _silent(tunnel, notes, now)
        if words is not None:
            found.append(words)
    return found


def _no_interface(name: str) -> Words:
    if missing := device.missing():
        return f"{name} is not there: {missing}", "install them; the agent goes on by itself"
    if Path("/sys/module/wireguard").exists():
        return f"{name} is not there", "the agent makes it within ten seconds; is it running?"
    if shutil.which("wireguard-go") is None:
        return (
            f"{name} is not there: the kernel has no WireGuard module, and wireguard-go is not installed",
            "modprobe wireguard, or apt install wireguard-go; the agent goes on by itself",
        )
    if not Path("/dev/net/tun").exists():
        return (
            f"{name} is not there: wireguard-go needs /dev/net/tun",
            "modprobe tun; in a container, pass the device in",
        )
    return f"{name} is not there", "the agent makes it within ten seconds; is it running?"


def _silent(tunnel: Note, notes: Notes, now: float) -> Words:
    ports = " and ".join(map(str, notes.ports))
    since = f"silent for {int(now - tunnel.handshake_at)} s" if tunnel.handshake_at else "never seen"
    if notes.filtered:
        return (
            f"{tunnel.name} is {since}: handshakes reach this machine, and its own firewall drops them",
            f"admit UDP {ports} here, for example: ufw allow {min(notes.ports)}/udp",
        )
    if notes.refused and tunnel.handshake_at:
        return (
            f"{tunnel.name} is {since}: handshakes arrive and are refused, though they were accepted before",
            "the origin's clock was set back (compare `date -u` there), or its key is another one: then join again",
        )
    if notes.refused:
        return (
            f"{tunnel.name} is {since}: handshakes arrive with a key that this tunnel does not have",
            "run the command of the dashboard on the origin again, so that both ends know the same keys",
        )
    if notes.counts:
        return (
            f"{tunnel.name} is {since}: nothing that it sends reaches UDP {ports} of this machine",
            f"open UDP {ports} in the provider's firewall; on the origin, `lumos-tunnel status` says where it sends to",
        )
    return (
        f"{tunnel.name} is {since}",
        f"open UDP {ports} in every firewall (apt install nftables, and more can be said)",
    )


def _too_large(tunnel: Note, mtu: int) -> Words | None:
    """Find out whether packets of the tunnel's MTU arrive; an origin that answers no echo cannot be asked."""
    if not _echoes(tunnel.address, _SMALL) or _echoes(tunnel.address, mtu):
        return None
    low, high = _LEAST, mtu
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _echoes(tunnel.address, middle) else (low, middle)
    return (
        f"{tunnel.name}: packets of {mtu} bytes are lost on the way, those of {low} bytes arrive",
        f"set the MTU to {low} under Tunnels in the dashboard",
    )


def _echoes(address: str, size: int) -> bool:
    """Whether a packet of `size` bytes comes back, tried twice."""
    for _ in range(2):
        try:
            if _echo(address, size):
                return True
        except OSError:
            return False
    return False


def _echo(address: str, size: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as probe:
        probe.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        payload = os.urandom(size - _ICMP_HEADERS)
        probe.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + payload, (address, 0))
        deadline = time.monotonic() + _ECHO_SECONDS
        while (left := deadline - time.monotonic()) > 0 and select.select([probe], [], [], left)[0]:
            if probe.recv(65_536)[8:] == payload:
                return True
    return False
