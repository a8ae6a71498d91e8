"""The certificates that HAProxy serves: PEM files and the crt-list that names them, on disk and in the worker alike.

Both lie outside the generations, so a new certificate is no new configuration and needs no reload. The first entry of
the list is the shield's own self-signed certificate, which answers names that nobody has.
"""

import logging
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lumos_agent.config import State, write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)


def leaf_of(pem: bytes, hostname: str) -> x509.Certificate:
    """Return the first certificate of a PEM file with its private key, if they belong together and to `hostname`.

    Raises:
        ValueError: says what is wrong.
    """
    certificates = x509.load_pem_x509_certificates(pem)
    key = serialization.load_pem_private_key(pem, None)
    leaf = certificates[0]
    spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise ValueError("the private key does not belong to the certificate")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns_names = names.get_values_for_type(x509.DNSName)
    if hostname not in dns_names and f"*.{hostname.partition('.')[2]}" not in dns_names:
        raise ValueError(f"the certificate is for {', '.join(dns_names)} and not for {hostname}")
    return leaf


class ServedCertificates:
    """The list and its files."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: dict[str, tuple[int, str, x509.Certificate | None]] = {}

    def path(self, domain_id: str) -> Path:
        """Return where the PEM of a domain lies."""
        return self._state.certificates / f"{domain_id}.pem"

    def read(self, domain_id: str, hostname: str) -> x509.Certificate | None:
        """Return the certificate of a domain, or None if there is none that can be served; read once per file."""
        path = self.path(domain_id)
        try:
            written = path.stat().st_mtime_ns
        except OSError:
            return None
        known = self._known.get(domain_id)
        if known is None or known[:2] != (written, hostname):
            known = self._known[domain_id] = written, hostname, self._parsed(path, hostname)
        return known[2]

    def _parsed(self, path: Path, hostname: str) -> x509.Certificate | None:
        try:
            return leaf_of(path.read_bytes(), hostname)
        except (OSError, ValueError, x509.ExtensionNotFound) as error:
            log.error("certificate_unusable", extra={"file": path.name, "error": str(error)})
            return None

    def _lines(self, hostnames: dict[str, str]) -> list[str]:
        own = [
            f"{self.path(domain_id)} {hostname}"
            for domain_id, hostname in sorted(hostnames.items())
            if self.read(domain_id, hostname) is not None
        ]
        return [str(self._state.default_certificate), *own]

    def write_list(self, hostnames: dict[str, str]) -> list[str]:
        """Write the list for {domain id: hostname}; returns its lines. Files that cannot be served are left out."""
        lines = self._lines(hostnames)
        write_atomically(self._state.certificates_list, "".join(f"{line}\n" for line in lines).encode())
        return lines

    async def install(self, domain_id: str, hostname: str, pem: bytes) -> None:
        """Put a new certificate into service without a reload.

        Raises:
            ValueError, OSError, HaproxyError: it is not; what was served before still is.
        """
        leaf_of(pem, hostname)
        path = self.path(domain_id)
        write_atomically(path, pem)
        await self._command(f"new ssl cert {path}", "store", "already exists")
        await self._command(f"set ssl cert {path} <<\n{pem.decode().strip()}\n", "transaction")
        await self._command(f"commit ssl cert {path}", "success")

    async def sync(self, hostnames: dict[str, str]) -> None:
        """Make list and worker serve exactly the certificates of {domain id: hostname}.

        Raises:
            HaproxyError: the worker refuses; the next reload takes the list from disk.
        """
        before = self._state.certificates_list.read_text(encoding="utf-8").splitlines()
        after = self.write_list(hostnames)
        gone, new = set(before) - set(after), set(after) - set(before)
        for line in before:
            if line in gone:
                await self._command(f"del ssl crt-list {self._state.certificates_list} {line.split()[0]}", "deleted")
        for line in after:
            if line in new:
                await self._command(f"add ssl crt-list {self._state.certificates_list} <<\n{line}\n", "success")

    async def _command(self, command: str, *expected: str) -> None:
        answer = await cli.ask(self._state.worker_socket, [command])
        if not any(words in answer.lower() for words in expected):
            raise HaproxyError(f"{command.split(' <<')[0]}: {answer.strip()[:500]}")
