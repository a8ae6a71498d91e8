"""The keys that this shield signs zones with: made by Knot's keymgr where they stay, one per zone, for good.

They outlive zones, so that a zone that is signed again has the key whose digest its parent may still have.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lumos_agent.config import write_atomically
from lumos_agent.errors import AgentError, ApplyError
from lumos_agent.runner import run
from lumos_agent.zone import Zone

ALGORITHM = "ecdsap256sha256"
_DNSKEY = re.compile(r"^\S+ DNSKEY 257 3 13 ([A-Za-z0-9+/]{86}==)$", re.MULTILINE)


class ZoneKeys:
    """The keys below `directory`, which is Knot's; `public.json` there is {zone: public key}."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: dict[str, str] | None = None

    def of(self, zone: Zone) -> str:
        """Return the public key of a zone for which `make` was called."""
        return self._public()[zone.name]

    async def make(self, zones: Iterable[Zone]) -> None:
        """Make keys for the signed zones that have none.

        Raises:
            ApplyError: keymgr is not installed, or fails.
        """
        known = self._public()
        wanted = [zone.name for zone in zones if zone.signed and zone.name not in known]
        if not wanted:
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in wanted:
            known[name] = await self._key(name)
        write_atomically(self.directory / "public.json", msgspec.json.encode(known))

    async def _key(self, zone: str) -> str:
        """Return the key of a zone, which a run that was interrupted may have made."""
        if not (found := _DNSKEY.findall(await self._keymgr(zone, "dnskey"))):
            await self._keymgr(zone, "generate", f"algorithm={ALGORITHM}", "ksk=yes", "zsk=yes")
            found = _DNSKEY.findall(await self._keymgr(zone, "dnskey"))
        if len(found) != 1:
            raise ApplyError("render", f"keymgr has {len(found)} keys of {zone} where it should have one")
        return str(found[0])

    async def _keymgr(self, zone: str, *words: str) -> str:
        try:
            code, said = await run(["keymgr", "-D", str(self.directory), f"{zone}.", *words])
        except AgentError as error:
            raise ApplyError("render", str(error)) from error
        if code:
            raise ApplyError("render", f"keymgr {words[0]} of {zone}: {said[-2000:]}")
        return said

    def _public(self) -> dict[str, str]:
        if self._known is None:
            try:
                data = (self.directory / "public.json").read_bytes()
                self._known = msgspec.json.decode(data, type=dict[str, str])
            except (OSError, msgspec.DecodeError):
                self._known = {}
        return self._known
