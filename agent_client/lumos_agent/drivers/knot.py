"""Knot DNS as a process of its own: checked with its own tools, told of what changed, probed over the network.

`loaded.json` names what the running knotd has read. Entries leave it before their files change and come back when knotd
answers, so that whatever a crash of the agent interrupts is done again by the next apply.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from lumos_agent.config import State, reachable, write_atomically
from lumos_agent.daemons import Daemon
from lumos_agent.dns import NoAnswer, Resolver
from lumos_agent.drivers.database_copy import DatabaseCopy
from lumos_agent.drivers.detached import Detached, Process
from lumos_agent.drivers.knot_control import COMMAND_SECONDS, KnotControl
from lumos_agent.drivers.zone_keys import ZoneKeys
from lumos_agent.errors import AgentError, ApplyError
from lumos_agent.render.knot import Files, KnotOptions, RenderedZone, render, rendered_zone, zone_file_name
from lumos_agent.runner import run
from lumos_agent.schema import Snapshot
from lumos_agent.zone import Zone

READY_SECONDS = 20.0
PROBED_MAX = 20
_POLL_SECONDS = 0.02


class _Inputs(NamedTuple):
    """All that the files are made of."""

    zones: tuple[Zone, ...]
    resolved: Mapping[str, Sequence[str]]
    texts: Mapping[str, Sequence[str]]
    database: str


class Knot(Daemon):
    """The one knotd of a state directory; it runs while there are zones."""

    name = "knot"

    def __init__(self, state: State, listen: tuple[str, ...], country_database: Path) -> None:
        self._root = state.root / "knot"
        self._listen = listen
        self._keys = ZoneKeys(state.zone_keys)
        self._copies = DatabaseCopy(country_database, self._root)
        self._socket = state.run / "k.sock"
        self._log = self._root / "knot.log"
        self.control = KnotControl(self._socket, self.last_words)
        self._process = Detached(state.run / "knot.json")
        self._resolved: Mapping[str, Sequence[str]] = {}
        self._texts: Mapping[str, Sequence[str]] = {}
        self._database: str | None = None
        self._around: object = None
        self._known: dict[str, RenderedZone] = {}
        self._applied: _Inputs | None = None

    def use_resolved(self, resolved: Mapping[str, Sequence[str]]) -> bool:
        """Answer for aliases with these addresses from the next apply on, {target: addresses}; False if known."""
        if resolved == self._resolved:
            return False
        self._resolved = dict(resolved)
        return True

    def use_texts(self, texts: Mapping[str, Sequence[str]]) -> bool:
        """Answer these texts as well from the next apply on, {name: texts}; False if they are known."""
        if texts == self._texts:
            return False
        self._texts = dict(texts)
        return True

    def refresh_database(self) -> bool:
        """Use the country database as it is now from the next apply on; False if it is the same."""
        before, self._database = self._database, self._copies.path()
        return before is not None and before != self._database

    async def check(self, snapshot: Snapshot) -> None:
        """Let Knot's own tools read what would change.

        Raises:
            ApplyError: they refuse it, or are not installed.
        """
        inputs = self._inputs(snapshot)
        if not inputs.zones or inputs == self._applied:
            return
        await self._keys.make(inputs.zones)
        files, loaded = self._rendered(inputs), self._loaded()
        changed = {name for name, data in files.items() if loaded.get(name) != _digest(data)}
        zones = tuple(z for z in inputs.zones if zone_file_name(z.name) in changed or any(z.id in n for n in changed))
        folder = self._root / "check"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _write(folder, self._rendered(inputs._replace(zones=zones), root=folder))
            await self._judged(folder / "knot.conf", "conf-check")
            if zones:
                await self._judged(folder / "knot.conf", "zone-check")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _judged(self, conf: Path, action: str) -> None:
        try:
            code, said = await run(["knotc", "-c", str(conf), action], timeout_seconds=COMMAND_SECONDS)
        except AgentError as error:
            raise ApplyError("check", str(error)) from error
        if code:
            raise ApplyError("check", said.replace(f"{conf.parent}/", "")[-4000:] or f"knotc {action} failed")

    async def apply(self, snapshot: Snapshot) -> str:
        """Serve the zones of a snapshot; returns what changed, "" if nothing did.

        Raises:
            ApplyError: knotd does not run, does not take it, or does not answer.
        """
        inputs = self._inputs(snapshot)
        if not inputs.zones:
            return await self._end()
        is_running = self._process.running() is not None
        if is_running and inputs == self._applied:
            return ""
        self._applied = None
        await self._keys.make(inputs.zones)
        files = self._rendered(inputs)
        changed = self._put(files)
        zones = [zone for zone in inputs.zones if zone_file_name(zone.name) in changed]
        if not is_running:
            await self._start()
        else:
            await self._tell(changed, zones)
        await self._probe(zones or list(inputs.zones))
        self._mark(files)
        self._applied, self._known = inputs, {zone.name: self._known[zone.name] for zone in inputs.zones}
        return _what(is_running, changed, zones)

    def process(self) -> Process | None:
        """Return the process that runs, or None."""
        return self._process.running()

    def has_zones(self) -> bool:
        """Whether there is something to serve, as it was written last."""
        return any(self._root.glob("zones/*"))

    def last_words(self) -> str:
        """Return the end of what knotd wrote."""
        try:
            return self._log.read_bytes()[-2000:].decode(errors="replace")
        except OSError:
            return "(no log)"

    async def stop(self) -> bool:
        """End knotd; False if it did not run."""
        return await self._process.stop()

    async def _end(self) -> str:
        self._applied, self._known = None, {}
        if not await self.stop():
            return ""
        shutil.rmtree(self._root, ignore_errors=True)
        return "stopped, no zones are left"

    def _inputs(self, snapshot: Snapshot) -> _Inputs:
        if snapshot.zones and (not self._database or not Path(self._database).exists()):
            self._database = self._copies.path()
        return _Inputs(snapshot.zones, self._resolved, self._texts, self._database or "")

    def _rendered(self, inputs: _Inputs, root: Path | None = None) -> Files:
        options = KnotOptions(
            listen=self._listen,
            root=str(self._root),
            keys=str(self._keys.directory),
            socket=str(self._socket),
            log=str(self._log),
            database=inputs.database,
        )
        if root is not None:
            options = structs.replace(options, root=str(root))
        return render(self._parts(inputs), options)

    def _parts(self, inputs: _Inputs) -> list[RenderedZone]:
        """Render the zones; those that are as they were are not rendered again."""
        around = inputs.resolved, bool(inputs.database)
        known = self._known if around == self._around else {}
        parts = []
        for zone in inputs.zones:
            texts = {name: of for name, of in inputs.texts.items() if name.endswith(f".{zone.name}")}
            part = known.get(zone.name)
            if part is None or part.zone != zone or part.texts != texts:
                part = rendered_zone(zone, inputs.resolved, texts, has_database=bool(inputs.database))
            parts.append(part)
        self._around, self._known = around, {**known, **{part.zone.name: part for part in parts}}
        return parts

    def _loaded(self) -> dict[str, str]:
        try:
            return msgspec.json.decode((self._root / "loaded.json").read_bytes(), type=dict[str, str])
        except (OSError, msgspec.DecodeError):
            return {}

    def _put(self, files: Files) -> set[str]:
        """Write what differs from what knotd has read; returns the names, those of files that are gone too."""
        loaded = self._loaded()
        digests = {name: _digest(data) for name, data in files.items()}
        changed = {name for name in {*loaded, *digests} if loaded.get(name) != digests.get(name)}
        if not changed:
            return changed
        self._root.mkdir(mode=0o700, exist_ok=True)
        self._note({name: digest for name, digest in loaded.items() if name not in changed})
        _write(self._root, {name: files[name] for name in changed if name in files})
        return changed

    def _mark(self, files: Files) -> None:
        """Note that knotd has read `files`, and remove what it reads no more."""
        self._note({name: _digest(data) for name, data in files.items()})
        for path in (*self._root.glob("zones/*"), *self._root.glob("geo/*")):
            if path.relative_to(self._root).as_posix() not in files:
                path.unlink(missing_ok=True)
        self._copies.forget_others(self._database or "")

    def _note(self, loaded: dict[str, str]) -> None:
        write_atomically(self._root / "loaded.json", msgspec.json.encode(loaded))

    async def _start(self) -> None:
        self._process.start(["knotd", "-c", str(self._root / "knot.conf")], self._log)
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        while not await self.control.answers():
            if self._process.running() is None or asyncio.get_running_loop().time() > deadline:
                raise ApplyError("reload", f"knotd does not start: {self.last_words()}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _tell(self, changed: Iterable[str], zones: Sequence[Zone]) -> None:
        """Let knotd read what changed; modules are read with the configuration, zones one by one."""
        if any(not name.startswith("zones/") for name in changed):
            await self.control.reload()
        await self.control.read_zones(zones)

    async def sign_again(self, zones: Sequence[Zone]) -> None:
        """Give all signatures of zones their full time again, those of views too; serials stay.

        Raises:
            ApplyError: knotd refuses.
        """
        await self.control.reload()
        await self.control.read_zones(zones)

    def signed_zones(self) -> list[tuple[Zone, str]]:
        """Return the zones that are signed here, each with its public key."""
        zones = () if self._applied is None else self._applied.zones
        return [(zone, self._keys.of(zone)) for zone in zones if zone.signed]

    async def _probe(self, zones: Sequence[Zone]) -> None:
        """Ask for the serials of some zones as everybody does.

        Raises:
            ApplyError: one is not served, or not in this version.
        """
        for zone in zones[:PROBED_MAX]:
            serials = await self._serials(zone)
            if serials != [str(zone.serial)] and zone.signed:  # knotd raises it when nobody had it sign for a fortnight
                await self.control.read_zones([zone])
                serials = await self._serials(zone)
            if serials != [str(zone.serial)]:
                raise ApplyError("probe", f"{zone.name} answers the serials {serials}, not {zone.serial}")

    async def _serials(self, zone: Zone) -> list[str]:
        try:
            return await Resolver([reachable(self._listen[0])]).serials(zone.name)
        except NoAnswer as error:
            raise ApplyError("probe", f"{zone.name}: {error}; {self.last_words()}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _write(root: Path, files: Files) -> None:
    """Write files below `root`, each in one step."""
    for folder in (root, root / "db", root / "zones", root / "geo"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(root / name, data, durable=False)


def _what(was_running: bool, changed: set[str], zones: Sequence[Zone]) -> str:
    if not was_running:
        return "started"
    if not changed:
        return ""
    return f"{len(zones)} zone{'' if len(zones) == 1 else 's'} read again"
