"""The last good snapshot, encrypted: AES-256-GCM with a key derived from the server token (HKDF, RFC 5869)."""

import os
import zlib
from base64 import b64encode
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from lumos_agent import protocol
from lumos_agent.config import write_atomically
from lumos_agent.errors import AgentError

_MAGIC = b"LUMOS1\0\0"
_SALT_BYTES = 16
_NONCE_BYTES = 12
_HEADER_BYTES = len(_MAGIC) + _SALT_BYTES + _NONCE_BYTES


class Stored(Struct, frozen=True, kw_only=True):
    """A snapshot that was served, with its identity."""

    epoch: str
    revision: int
    digest: str
    snapshot: bytes


def running_snapshot(stored: Stored) -> protocol.RunningSnapshot:
    """Return it as the control plane is told of it."""
    content = b64encode(zlib.compress(stored.snapshot)).decode()
    return protocol.RunningSnapshot(
        epoch=stored.epoch,
        revision=stored.revision,
        digest=stored.digest,
        content=content if len(content) <= protocol.SNAPSHOT_CHARACTERS_MAX else "",
    )


class Store:
    """One encrypted file. The header (magic, salt, nonce) is authenticated with the content."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token

    def _cipher(self, salt: bytes) -> AESGCM:
        key = HKDF(SHA256(), 32, salt, b"lumos-agent snapshot v1").derive(self._token.encode())
        return AESGCM(key)

    def save(self, stored: Stored) -> None:
        """Replace the file; every write has a new salt and nonce."""
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        header = _MAGIC + salt + nonce
        sealed = self._cipher(salt).encrypt(nonce, msgspec.msgpack.encode(stored), header)
        write_atomically(self._path, header + sealed)

    def load(self) -> Stored | None:
        """Return what was saved, or None before the first save.

        Raises:
            AgentError: written with another token, changed by somebody, or damaged.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        header, sealed = data[:_HEADER_BYTES], data[_HEADER_BYTES:]
        salt, nonce = header[len(_MAGIC) : -_NONCE_BYTES], header[-_NONCE_BYTES:]
        try:
            if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
                raise InvalidTag
            plain = self._cipher(salt).decrypt(nonce, sealed, header)
            return msgspec.msgpack.decode(plain, type=Stored)
        except (InvalidTag, msgspec.DecodeError) as error:
            raise AgentError(
                f"{self._path} cannot be decrypted with this token (rotated, or the file was changed); HAProxy goes "
                "on, the configuration is fetched anew from the control plane"
            ) from error
