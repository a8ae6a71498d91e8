"""The newest configuration that the gateway sent, so that a patch of it is as good as the whole."""

from collections.abc import Callable

import msgspec

from lumos_agent import protocol
from lumos_agent.parts import Parts
from lumos_agent.schema import digest_of
from lumos_agent.store import Stored


class Desired:
    """`stored` returns what is in service, which a patch may refer to after a reconnect."""

    def __init__(self, stored: Callable[[], Stored | None]) -> None:
        self._stored = stored
        self._digest = ""
        self._data = b""
        self._parts: Parts | None = None

    def take(self, config: protocol.Config) -> None:
        """Remember what was sent."""
        self._digest, self._data, self._parts = config.digest, bytes(config.snapshot), None

    def patched(self, patch: protocol.Patch) -> protocol.Config | None:
        """Return the whole that a patch leads to, or None if it does not fit."""
        if patch.base != self._digest and not self._take_stored(patch.base):
            return None
        try:
            parts = Parts.split(self._data) if self._parts is None else self._parts.copy()
            parts.remove_domains(patch.removed_domains)
            parts.put_encoded(patch.domains, patch.lists)
        except msgspec.DecodeError:
            return None
        data = parts.join()
        if digest_of(data) != patch.digest:
            return None
        self._digest, self._data, self._parts = patch.digest, b"", parts
        return protocol.Config(
            epoch=patch.epoch,
            revision=patch.revision,
            digest=patch.digest,
            snapshot=msgspec.Raw(data),
            allow_shrink=patch.allow_shrink,
        )

    def _take_stored(self, digest: str) -> bool:
        stored = self._stored()
        if stored is None or stored.digest != digest:
            return False
        self._digest, self._data, self._parts = digest, stored.snapshot, None
        return True
