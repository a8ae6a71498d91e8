"""A CA for tests: Pebble, and a DNS server that gives one address for every name."""

import datetime
import ipaddress
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services import free_port

START_SECONDS = 15.0


def _directory_certificate(folder: Path) -> Path:
    """Write the certificate of Pebble's own HTTPS, which is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pebble")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "ca.key").write_bytes(key.private_bytes(encoding, kind, serialization.NoEncryption()))
    (folder / "ca.pem").write_bytes(made.public_bytes(encoding))
    return folder / "ca.pem"


class Pebble:
    """A running CA. `ca_file` verifies its directory; with `external` ({key id: MAC key}) it wants accounts bound.

    It asks the DNS at `dns_port`, or one of its own.
    """

    def __init__(
        self,
        folder: Path,
        http_port: int,
        address: str = "127.0.0.1",
        external: dict[str, str] | None = None,
        dns_port: int | None = None,
    ) -> None:
        self.ca_file = _directory_certificate(folder)
        self._folder = folder
        self._port, self._management, self._dns, self._dns_management = (free_port() for _ in range(4))
        self._has_own_dns = dns_port is None
        self._dns = dns_port or self._dns
        config: dict[str, Any] = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(folder / "ca.pem"),
            "privateKey": str(folder / "ca.key"),
            "httpPort": http_port,
            "tlsPort": 1,
        }
        if external is not None:
            config |= {"externalAccountBindingRequired": True, "externalAccountMACKeys": external}
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        self._address = address
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def directory_url(self) -> str:
        """The ACME directory."""
        return f"https://127.0.0.1:{self._port}/dir"

    def root(self) -> bytes:
        """Return the root certificate of what it issues."""
        import ssl

        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"https://127.0.0.1:{self._management}/roots/0", context=context) as answer:
            return bytes(answer.read())

    def start(self) -> None:
        """Start both processes."""
        dns = [
            "pebble-challtestsrv",
            "-dns01",
            f"127.0.0.1:{self._dns}",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]
        dns += ["-management", f"127.0.0.1:{self._dns_management}", "-defaultIPv4", self._address, "-defaultIPv6", ""]
        ca = ["pebble", "-config", str(self._folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self._dns}", "-strict"]
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        log = (self._folder / "pebble.log").open("wb")
        with log:
            for argv in (dns, ca) if self._has_own_dns else (ca,):
                self._processes.append(subprocess.Popen(argv, stdout=log, stderr=log, env=environment))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                self.root()
                return
            time.sleep(0.05)
        raise RuntimeError((self._folder / "pebble.log").read_text())

    def point_to(self, address: str) -> None:
        """Let DNS give another address for every name."""
        self._post("set-default-ipv4", {"ip": address})

    def _post(self, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self._dns_management}/{path}", data).close()

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.terminate()
            process.wait()
        self._processes = []


@contextmanager
def pebble(
    folder: Path, http_port: int, external: dict[str, str] | None = None, dns_port: int | None = None
) -> Iterator[Pebble]:
    """Run a CA that fetches challenges at `http_port`, and asks the DNS at `dns_port` if one is given."""
    made = Pebble(folder, http_port, external=external, dns_port=dns_port)
    try:
        made.start()
        yield made
    finally:
        made.stop()
