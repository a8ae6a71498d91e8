"""The first message of a WireGuard handshake with a time of one's own (protocol, 5.4.2), for clocks that are wrong."""

import base64
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2s(b"".join(parts)).digest()


def _derived(key: bytes, data: bytes, count: int) -> list[bytes]:
    def mac(secret: bytes, text: bytes) -> bytes:
        return hmac.new(secret, text, hashlib.blake2s).digest()

    secret, found, last = mac(key, data), [], b""
    for number in range(1, count + 1):
        last = mac(secret, last + bytes([number]))
        found.append(last)
    return found


def initiation(private_key: str, responder: str, unix_seconds: int) -> bytes:
    """Return the message of the owner of `private_key` to `responder` (base64 both), sent at `unix_seconds`."""
    own = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
    theirs = base64.b64decode(responder)
    peer, fresh = X25519PublicKey.from_public_bytes(theirs), X25519PrivateKey.generate()
    ephemeral = fresh.public_key().public_bytes_raw()
    chain = _hash(_CONSTRUCTION)
    seen = _hash(_hash(_hash(chain, _IDENTIFIER), theirs), ephemeral)
    (chain,) = _derived(chain, ephemeral, 1)
    chain, key = _derived(chain, fresh.exchange(peer), 2)
    static = ChaCha20Poly1305(key).encrypt(bytes(12), own.public_key().public_bytes_raw(), seen)
    seen = _hash(seen, static)
    _, key = _derived(chain, own.exchange(peer), 2)
    stamp = struct.pack("!QI", 2**62 + 10 + unix_seconds, 0)
    sealed = ChaCha20Poly1305(key).encrypt(bytes(12), stamp, seen)
    message = b"\x01\0\0\0" + os.urandom(4) + ephemeral + static + sealed
    mac = hashlib.blake2s(message, digest_size=16, key=_hash(b"mac1----", theirs)).digest()
    return message + mac + bytes(16)
