"""The DNS around a zone of Lumos: a root and a top-level domain on a Knot of their own, and a client that walks down."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset

from tests.network.hosts import Host

SECONDS = 1.0
STEPS_MAX = 8
_CONF = """
server:
  listen: {address}@53
  rundir: {folder}
control:
  listen: {folder}/knot.sock
database:
  storage: {folder}/db
zone:
  - domain: .
    file: {folder}/root.zone
  - domain: example.
    file: {folder}/example.zone
"""
_HEAD = "{name} 60 IN SOA ns.example. hostmaster.example. {serial} 3600 600 86400 5\n{name} 60 IN NS ns.example.\n"


class Parents:
    """A host that serves `.` and `example.`, where a registrar enters name servers."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self._folder, self._serial = host, folder, 0
        (folder / "db").mkdir(parents=True)
        (folder / "knot.conf").write_text(_CONF.format(address=host.address, folder=folder))
        glue = f"ns.example. 60 IN A {host.address}\n"
        (folder / "root.zone").write_text(_HEAD.format(name=".", serial=1) + f"example. 60 IN NS ns.example.\n{glue}")
        self._write(glue)
        host.start("knotd", "-c", folder / "knot.conf", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _write(self, text: str) -> None:
        self._serial += 1
        (self._folder / "example.zone").write_text(_HEAD.format(name="example.", serial=self._serial) + text)

    def delegate(self, zone: str, nameservers: Mapping[str, str], digests: Iterable[str] = ()) -> None:
        """Enter {name: address} of a zone below `example`, and the data of its DS records."""
        glue = {"ns.example": self.host.address, **nameservers}
        lines = [f"{zone}. 60 IN NS {name}." for name in nameservers]
        lines += [f"{name}. 60 IN A {address}" for name, address in glue.items()]
        lines += [f"{zone}. 60 IN DS {digest}" for digest in digests]
        self._write("".join(f"{line}\n" for line in lines))
        self.host.run("knotc", "-b", "-s", self._folder / "knot.sock", "zone-reload", "example.")


def resolved(client: Host, root: str, name: str) -> list[str]:
    """Return the addresses that a client finds who knows the root's alone; empty if nobody answers."""
    return client.inside(lambda: _resolved(root, name))


def proved(client: Host, address: str, zone: str, name: str, digests: Iterable[str]) -> list[str]:
    """Return the addresses that a name server gives a client, who validates them with a zone's DS records.

    Raises:
        dns.dnssec.ValidationFailure: they are not proved.
    """
    return client.inside(lambda: _proved(address, zone, name, set(digests)))


def _proved(address: str, zone: str, name: str, digests: set[str]) -> list[str]:
    apex = dns.name.from_text(zone)
    keys, signatures = _signed(address, zone, "DNSKEY")
    trusted = [key for key in keys if dns.dnssec.make_ds(apex, key, "SHA256").to_text() in digests]
    dns.dnssec.validate(keys, signatures, {apex: dns.rrset.from_rdata_list(apex, keys.ttl, trusted)})
    found, signatures = _signed(address, name, "A")
    dns.dnssec.validate(found, signatures, {apex: keys})
    return sorted(record.to_text() for record in found)


def _signed(address: str, name: str, kind: str) -> tuple[dns.rrset.RRset, dns.rrset.RRset]:
    question = dns.message.make_query(name, kind, want_dnssec=True)
    found, signatures = sorted(
        dns.query.tcp(question, address, SECONDS).answer, key=lambda s: s.rdtype == dns.rdatatype.RRSIG
    )
    return found, signatures


def _resolved(root: str, name: str) -> list[str]:
    servers = [root]
    for _ in range(STEPS_MAX):
        answer = _asked(servers, name)
        if answer is None or answer.answer:
            break
        names = {r.target for s in answer.authority if s.rdtype == dns.rdatatype.NS for r in s}
        glue = [s for s in answer.additional if s.name in names and s.rdtype == dns.rdatatype.A]
        servers = [r.address for s in glue for r in s]
    return sorted(r.to_text() for s in answer.answer for r in s) if answer is not None else []


def _asked(servers: list[str], name: str) -> dns.message.Message | None:
    """Ask one after the other, as resolvers do; None if none of them answers."""
    question = dns.message.make_query(name, "A", flags=0)
    for address in servers:
        try:
            return dns.query.udp(question, address, timeout=SECONDS)
        except (dns.exception.DNSException, OSError):
            continue
    return None
