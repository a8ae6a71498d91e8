"""A validating resolver (BIND's named) in front of name servers on loopback, with trust in the keys that it is given."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import dns.asyncquery
import dns.dnssec
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata

from tests.agent.zones import SECONDS, free_dns_port

_CONF = """
options {{
  directory "{root}"; pid-file none; session-keyfile none; managed-keys-directory "{root}";
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion yes; dnssec-validation yes; max-cache-ttl 0; max-ncache-ttl 0; prefetch 0; query-source address {source};
}};
controls {{ }};
trust-anchors {{ {anchors} }};
zone "{zone}" {{ type forward; forward only; forwarders {{ {forwarders} }}; }};
"""


def digest_of(zone: str, key: str) -> str:
    """Return the data of the DS record of a zone's key."""
    dnskey = dns.rdata.from_text("IN", "DNSKEY", f"257 3 13 {key}")
    return dns.dnssec.make_ds(dns.name.from_text(zone), dnskey, "SHA256").to_text()


class Validator:
    """A resolver that answers only what it could validate."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def ask(self, name: str, kind: str = "A") -> tuple[str, list[str]]:
        """Return (response code, data), with "unproved" as the code of an answer that is not proved to be right."""
        question = dns.message.make_query(name, kind, use_edns=0, want_dnssec=True)
        answer = await dns.asyncquery.tcp(question, "127.0.0.1", timeout=SECONDS, port=self._port)
        data = sorted(i.to_text() for s in answer.answer if s.rdtype != dns.rdatatype.RRSIG for i in s)
        is_proved = answer.flags & dns.flags.AD and answer.rcode() != dns.rcode.SERVFAIL
        return (dns.rcode.to_text(answer.rcode()) if is_proved else "unproved"), data


@contextlib.asynccontextmanager
async def validator(
    zone: str, keys: Sequence[str], ports: Sequence[int], *, source: str = "127.0.0.1"
) -> AsyncIterator[Validator]:
    """Resolve one zone with name servers on these ports, asked from `source`; the parent has the digests of `keys`."""
    anchors = ""
    for key in keys:
        tag, algorithm, digest_type, digest = digest_of(zone, key).split()
        anchors += f'{zone}. static-ds {tag} {algorithm} {digest_type} "{digest}"; '
    forwarders = " ".join(f"127.0.0.1 port {port};" for port in ports)
    with tempfile.TemporaryDirectory(prefix="named-") as root:
        port = free_dns_port()
        conf = _CONF.format(root=root, port=port, source=source, anchors=anchors, zone=zone, forwarders=forwarders)
        (Path(root) / "named.conf").write_text(conf)
        process = subprocess.Popen(  # noqa: ASYNC220 - ends with the context
            ["named", "-f", "-4", "-n", "1", "-c", f"{root}/named.conf"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _answers(port)
            yield Validator(port)
        finally:
            process.kill()
            process.wait()


async def _answers(port: int) -> None:
    question = dns.message.make_query("version.bind", "TXT", "CH")
    async with asyncio.timeout(SECONDS):
        while not await _is_answered(question, port):
            await asyncio.sleep(0.05)


async def _is_answered(question: dns.message.Message, port: int) -> bool:
    try:
        await dns.asyncquery.tcp(question, "127.0.0.1", timeout=1, port=port)
    except (OSError, dns.exception.DNSException):
        return False
    return True
