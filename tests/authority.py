"""CAs for tests."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM = serialization.Encoding.PEM
_PLAIN = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


class Authority:
    """A CA (`pem`), and certificates of it with their keys in files."""

    def __init__(self, folder: Path, name: str, *, days: int = 9) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._signed(self._key.public_key(), name, days, x509.BasicConstraints(ca=True, path_length=None))
        self.pem = own.public_bytes(_PEM).decode()

    def _signed(
        self, key: ec.EllipticCurvePublicKey, name: str, days: int, extra: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(0xABCDEF).add_extension(extra, critical=False)
        begin, end = now - datetime.timedelta(days=20), now + datetime.timedelta(days=days)
        return builder.not_valid_before(begin).not_valid_after(end).sign(self._key, hashes.SHA256())

    def issue(self, name: str, *, days: int = 9) -> Path:
        """Return a PEM file with key and certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        dns = name if name.replace(".", "").replace("*", "").isalnum() else "x.example"
        made = self._signed(key.public_key(), name, days, x509.SubjectAlternativeName([x509.DNSName(dns)]))
        path = self._folder / f"{len(list(self._folder.iterdir()))}.pem"
        path.write_bytes(key.private_bytes(_PEM, *_PLAIN) + made.public_bytes(_PEM))
        return path
