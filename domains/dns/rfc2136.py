"""Dynamic updates with TSIG (RFC 2136, RFC 8945); a change is one message that holds or fails as a whole."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from domains.dns import DnsError, Entry, Plan
from lumos.net import Reach, system_resolver

ANSWER_SECONDS = 10.0
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
_KINDS = ("A", "AAAA", "CNAME", "TXT")


class Rfc2136:
    """One zone at one primary name server; what it answers is signed as well."""

    def __init__(
        self,
        *,
        zone: str,
        server: str,
        port: int,
        key_name: str,
        algorithm: str,
        secret: str,
        reach: Reach | None = None,
    ) -> None:
        self._zone = dns.name.from_text(zone)
        self._server, self._port = server, port
        self._reach = reach or Reach()
        self._keys = dns.tsigkeyring.from_text({key_name: (algorithm, secret)})

    def _address(self) -> str:
        """Return the server's address; every address that its name has must be public."""
        try:
            found = (self._reach.resolve or system_resolver)(self._server, self._port)
        except OSError as error:
            raise DnsError(f"{self._server} has no address.") from error
        for address in found:
            if not self._reach.admits(ipaddress.ip_address(address)):
                raise DnsError(f"{self._server} is {address}, which is no address of the public Internet.")
        return found[0]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature) as error:
            raise DnsError(f"{self._server} does not know the key, or knows another secret for it.") from error
        except (dns.exception.DNSException, OSError) as error:
            raise DnsError(f"{self._server}: {str(error) or type(error).__name__}") from error

    def entries(self, name: str) -> set[Entry]:
        """Return the records of a name, asked for at the primary itself."""
        return {entry for kind in _KINDS for entry in self._of_kind(name, kind)}

    def _of_kind(self, name: str, kind: str) -> Iterator[Entry]:
        owner = dns.name.from_text(name)
        query = dns.message.make_query(owner, kind, flags=0)
        query.use_tsig(self._keys)
        with self._errors():
            answer = dns.query.tcp(query, self._address(), ANSWER_SECONDS, self._port)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise DnsError(f"{self._server} answered {dns.rcode.to_text(answer.rcode())} for {name}.")
        for found in answer.answer:
            if found.name == owner and found.rdtype == dns.rdatatype.from_text(kind):
                for data in found:
                    yield Entry(name, kind, _text(data, kind))

    def change(self, plan: Plan, ttl: int) -> None:
        """Send the update, on the condition that what was seen is still there and what is new is not."""
        update = dns.update.UpdateMessage(self._zone)
        update.use_tsig(self._keys)
        if plan.mark in plan.add:
            update.absent(dns.name.from_text(plan.mark.name), "TXT")
        else:
            update.present(dns.name.from_text(plan.mark.name), "TXT", f'"{plan.mark.data}"')
        for entry in plan.remove:
            update.delete(dns.name.from_text(entry.name), entry.kind, entry.data)
        for entry in plan.add:
            data = f'"{entry.data}"' if entry.kind == "TXT" else entry.data
            update.add(dns.name.from_text(entry.name), ttl, entry.kind, data)
        with self._errors():
            answer = dns.query.tcp(update, self._address(), ANSWER_SECONDS, self._port)
        if answer.rcode() != dns.rcode.NOERROR:
            raise DnsError(f"{self._server} refused the update: {dns.rcode.to_text(answer.rcode())}.")


def _text(data: object, kind: str) -> str:
    if kind == "TXT":
        return b"".join(getattr(data, "strings", ())).decode("utf-8", "replace")
    return str(data).rstrip(".")
