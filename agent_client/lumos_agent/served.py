"""The certificates that HAProxy serves: PEM files and the crt-list that names them, on disk and in the worker alike.

Both lie outside the generations, so a new certificate is no new configuration and needs no reload. The first entry of
the list is the shield's own self-signed certificate, which answers names that nobody has. Where a domain wants
certificates of its visitors, its entry names the file with its CAs; such a file is named after what it holds.
"""

import hashlib
import logging
import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from lumos_agent.config import State, write_atomically
from lumos_agent.drivers import cli
from lumos_agent.errors import HaproxyError

log = logging.getLogger(__name__)

_CLIENT_CA = "client-ca-"


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
        self._folder = str(state.certificates)
        self._known: dict[str, tuple[int, str, x509.Certificate | None]] = {}

    def path(self, domain_id: str) -> Path:
        """Return where the PEM of a domain lies."""
        return self._state.certificates / f"{domain_id}.pem"

    def read(self, domain_id: str, hostname: str) -> x509.Certificate | None:
        """Return the certificate of a domain, or None if there is none that can be served; read once per file."""
        try:
            written = os.stat(f"{self._folder}/{domain_id}.pem").st_mtime_ns  # noqa: PTH116 - of thousands, every 10 s
        except OSError:
            return None
        known = self._known.get(domain_id)
        if known is None or known[:2] != (written, hostname):
            known = self._known[domain_id] = written, hostname, self._parsed(self.path(domain_id), hostname)
        return known[2]

    def _parsed(self, path: Path, hostname: str) -> x509.Certificate | None:
        try:
            return leaf_of(path.read_bytes(), hostname)
        except (OSError, ValueError, x509.ExtensionNotFound) as error:
            log.error("certificate_unusable", extra={"file": path.name, "error": str(error)})
            return None

    def _lines(self, hostnames: Mapping[str, str], clients: Mapping[str, Path]) -> list[str]:
        served = {pk: name for pk, name in hostnames.items() if self.read(pk, name) is not None}
        # Asked for by a name whose own certificate is not there yet, a wildcard's CAs must not vouch for its visitors.
        unserved = [name for pk, name in sorted(hostnames.items()) if pk in clients and pk not in served]
        lines = [str(self._state.default_certificate)]
        for pk, name in sorted(served.items()):
            words = [str(self.path(pk))]
            if pk in clients:
                words.append(f"[verify optional ca-file {clients[pk]}]")
            words.append(name)
            if pk in clients and name.startswith("*"):
                words += [f"!{other}" for other in unserved if other.partition(".")[2] == name[2:]]
            lines.append(" ".join(words))
        return lines

    def _client_files(self, clients: Mapping[str, str]) -> dict[str, Path]:
        """Write the CAs of {domain id: PEM}; returns the files. What OpenSSL cannot read is left out.

        A domain that is left out asks nobody for a certificate, and haproxy.cfg lets nobody in without one.
        """
        files = {}
        for pk, pem in clients.items():
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)
            except ssl.SSLError as error:
                log.error("client_ca_unusable", extra={"domain": pk, "error": str(error)})
                continue
            digest = hashlib.sha256(pem.encode()).hexdigest()[:32]
            files[pk] = self._state.certificates / f"{_CLIENT_CA}{digest}.pem"
            if not files[pk].exists():
                write_atomically(files[pk], pem.encode())
        return files

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

    async def sync(self, hostnames: Mapping[str, str], clients: Mapping[str, str]) -> None:
        """Make list and worker serve exactly the certificates of {domain id: hostname}.

        `clients`: {domain id: CAs of its visitors' certificates, PEM}.

        Raises:
            HaproxyError: the worker refuses; the next reload takes the list from disk.
        """
        crt_list = self._state.certificates_list
        before = crt_list.read_text(encoding="utf-8").splitlines()
        files = self._client_files(clients)
        after = self._lines(hostnames, files)
        if before != after:
            write_atomically(crt_list, "".join(f"{line}\n" for line in after).encode())
        gone, new = set(before) - set(after), set(after) - set(before)
        for path, pem in {files[pk]: clients[pk] for pk in sorted(files)}.items():
            if any(f" {path}]" in line for line in new):
                await self._load_client_ca(path, pem)
        for line in after:
            if line in new:
                await self._command(f"add ssl crt-list {crt_list} <<\n{line}\n", "success")
        # Last, so that a name whose entry changes is served all the time.
        for line in before:
            if line in gone:
                number = await self._first_number(line.split()[0])
                await self._command(f"del ssl crt-list {crt_list} {line.split()[0]}:{number}", "deleted")
        for path in set(self._state.certificates.glob(f"{_CLIENT_CA}*.pem")) - set(files.values()):
            path.unlink()

    async def _load_client_ca(self, path: Path, pem: str) -> None:
        """Let the worker know a file of CAs, under its name (management guide, 9.3)."""
        await self._command(f"new ssl ca-file {path}", "created", "already exists")
        await self._command(f"set ssl ca-file {path} <<\n{pem.strip()}\n", "transaction")
        await self._command(f"commit ssl ca-file {path}", "success")

    async def _first_number(self, certificate: str) -> int:
        """Return the number of the oldest entry of a certificate in the worker's list."""
        shown = await cli.ask(self._state.worker_socket, [f"show ssl crt-list -n {self._state.certificates_list}"])
        words = (line.split()[0].rpartition(":") for line in shown.splitlines() if line.strip())
        numbers = [int(number) for path, _, number in words if path == certificate and number.isdigit()]
        if not numbers:
            raise HaproxyError(f"the worker has no entry for {certificate}")
        return min(numbers)

    async def _command(self, command: str, *expected: str) -> None:
        answer = await cli.ask(self._state.worker_socket, [command])
        if not any(words in answer.lower() for words in expected):
            raise HaproxyError(f"{command.split(' <<')[0]}: {answer.strip()[:500]}")
