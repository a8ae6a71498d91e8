"""Secrets on their way to this shield: whoever uploads one seals it to the shield's public key (HPKE, RFC 9180).

Base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM; `info` names the domain, so that a sealed key is
good for one domain on one shield (or the server, for the key of its account at a CA). The control plane carries what it
cannot open.
"""

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from lumos_agent.config import write_atomically

_SUITE = Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"lumos certificate key v1 "


class SealingKey:
    """The key pair of a shield; the private half never leaves its file. Made at the first use."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            write_atomically(path, made.private_bytes(encoding, form, serialization.NoEncryption()))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - written above
        self._key = key

    def public(self) -> str:
        """Return the public key: an uncompressed point (SEC 1, 2.3.3) in base64."""
        form = serialization.PublicFormat.UncompressedPoint
        return base64.b64encode(self._key.public_key().public_bytes(serialization.Encoding.X962, form)).decode()

    def open(self, domain_id: str, sealed: str) -> bytes:
        """Return the private key (PEM) that was sealed for a domain.

        Raises:
            ValueError: sealed for another shield or domain, or damaged.
        """
        try:
            return _SUITE.decrypt(base64.b64decode(sealed, validate=True), self._key, _INFO + domain_id.encode())
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise ValueError("the private key was sealed for another shield or domain, or was damaged") from error


def seal(pem: bytes, public: str, domain_id: str) -> str:
    """Return a private key (PEM) sealed for one domain on the shield with this public key, in base64.

    Raises:
        ValueError: not a public key of a shield.
    """
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.b64decode(public, validate=True))
    return base64.b64encode(_SUITE.encrypt(pem, key, _INFO + domain_id.encode())).decode()
