"""Changes of every kind that a customer makes, one after the other, through the API."""

import datetime
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.common import Api
from lumos_agent.sealing import seal

VALIDITY = datetime.timedelta(days=30)


def own_certificate(hostname: str) -> tuple[str, bytes]:
    """Return a self-signed certificate for a hostname and its private key, in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + VALIDITY)
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
    form, no_password = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, form, no_password)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(), private


class Changes:
    """The demo's domain gets a second origin, at a port; a domain beside it comes, gets certificates and goes."""

    def __init__(self, api: Api, stack: Any, second_port: int) -> None:
        self._api = api
        self._server, self._domain = stack.secrets["server"], stack.secrets["domain"]
        self._port, self._second_port = stack.ports["origin"], second_port
        self._entries: list[str] = []
        self._others: list[tuple[str, str]] = []
        self.kinds: tuple[Callable[[int], None], ...] = (
            self._add_domain, self._list, self._weigh, self._drain, self._certify, self._route, self._policy,
            self._unlist, self._undrain, self._remove_domain,
        )  # fmt: skip

    def _origins(self, *, weight: int = 10, enabled: bool = True) -> list[dict[str, Any]]:
        first = {"address": "127.0.0.1", "port": self._port, "weight": 10}
        return [first, {"address": "127.0.0.1", "port": self._second_port, "weight": weight, "enabled": enabled}]

    def _put(self, **parts: Any) -> None:
        self._api.call("PATCH", f"/domains/{self._domain}", parts)

    def _list(self, number: int) -> None:
        body = {"domain": None, "kind": "deny", "network": f"203.0.113.{number % 256}"}
        self._entries.append(self._api.call("POST", "/ip-lists", body)["id"])

    def _unlist(self, number: int) -> None:
        self._api.call("DELETE", f"/ip-lists/{self._entries.pop()}")

    def _weigh(self, number: int) -> None:
        self._put(origins=self._origins(weight=1 + number % 100))

    def _drain(self, number: int) -> None:
        self._put(origins=self._origins(enabled=False))

    def _undrain(self, number: int) -> None:
        self._put(origins=self._origins())

    def _route(self, number: int) -> None:
        target = {"address": "127.0.0.1", "port": self._port}
        self._put(traffic={"routes": [{"path": f"/route-{number}", "origins": [target]}]})

    def _policy(self, number: int) -> None:
        policy = self._api.call("GET", f"/domains/{self._domain}")["policy"]
        self._api.call("PATCH", f"/policies/{policy}", {"level": ("low", "medium", "high")[number // 10 % 3]})

    def _add_domain(self, number: int) -> None:
        hostname = f"n{number}.bench.example"
        body = {"hostname": hostname, "origins": self._origins()[:1], "servers": [self._server], "certificate": "off"}
        self._others.append((self._api.call("POST", "/domains", body)["id"], hostname))

    def _remove_domain(self, number: int) -> None:
        self._api.call("DELETE", f"/domains/{self._others.pop()[0]}")

    def _certify(self, number: int) -> None:
        domain, hostname = self._others[-1]
        chain, key = own_certificate(hostname)
        recipients = self._api.call("GET", f"/domains/{domain}/certificate-recipients")
        keys = [{"server": r["server"], "sealed_key": seal(key, r["sealing_key"], domain)} for r in recipients]
        self._api.call("POST", f"/domains/{domain}/certificate", {"chain": chain, "keys": keys})
