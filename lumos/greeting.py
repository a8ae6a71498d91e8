"""How a stranger is greeted at an address: whether anybody listens, how HTTP is answered, which certificate is shown.

Unlike `lumos.net.fetch` this does not ask who the other side is: it wants to know.
"""

import contextlib
import http.client
import ipaddress
import ssl
import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from lumos.net import FetchError, Reach, bounded, connected

# What the parser raises for certificates that break X.509 in one way or another.
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """`status` of the answer, 0 if the connection was taken and nothing of HTTP came; names in the certificate."""

    status: int = 0
    names: tuple[str, ...] = ()


def greet(address: str, port: int, hostname: str, *, is_tls: bool, reach: Reach) -> Greeting | None:
    """Ask an address for the site `hostname`; None if nobody takes the connection.

    Raises:
        FetchError: the address is none that may be connected to.
    """
    if not reach.admits(ipaddress.ip_address(address)):
        raise FetchError(f"{address} is no address of the public Internet.")
    deadline = time.monotonic() + reach.seconds
    try:
        raw = connected([address], port, deadline)
    except OSError:
        return None
    status = 0
    names: tuple[str, ...] = ()
    with (
        contextlib.suppress(OSError, http.client.HTTPException, ValueError),
        bounded(raw, deadline),
        contextlib.closing(_anybody().wrap_socket(raw, server_hostname=hostname) if is_tls else raw) as stream,
    ):
        if isinstance(stream, ssl.SSLSocket):
            names = _names(stream.getpeercert(binary_form=True) or b"")
        connection = http.client.HTTPConnection(hostname, port)
        connection.sock = stream
        connection.request("GET", "/", headers={"Host": hostname, "User-Agent": "Lumos", "Connection": "close"})
        status = connection.getresponse().status
    return Greeting(status=status, names=names)


def _anybody() -> ssl.SSLContext:
    """Return what takes every certificate: nothing secret is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _names(der: bytes) -> tuple[str, ...]:
    """Return the hostnames that a certificate is for, none if it cannot be read: strangers show what they like."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        try:
            alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return tuple(str(name.value).lower() for name in common)
        return tuple(name.lower() for name in alternative.get_values_for_type(x509.DNSName))
    except _UNREADABLE:
        return ()
