"""Bring the shield from what it runs to what is wanted: all of it, or nothing.

The steps, in order: decode, guard, render, daemons, write, check, journal, switch, reload, probe, store, done. What the
running worker can be told is served before it is written: journal, runtime, write, switch, store, done. The journal
names the generation to go back to; it exists exactly while a kill of the agent could leave disk and worker disagreeing,
and `repair` makes them agree again at the next start. The daemons beside HAProxy converge to the stored snapshot then.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lumos_agent import protocol
from lumos_agent.config import State, write_atomically
from lumos_agent.daemons import Daemon, Daemons
from lumos_agent.drivers.haproxy import Haproxy
from lumos_agent.errors import AgentError, ApplyError, HaproxyError
from lumos_agent.generations import Generations
from lumos_agent.parts import Decoder
from lumos_agent.plan import Plan, plan
from lumos_agent.render.haproxy import Artefact, Identity, Options, Renderer, identity_of
from lumos_agent.schema import EMPTY_DIGEST, SchemaError, Snapshot, digest_of, empty_snapshot
from lumos_agent.store import Store, Stored

log = logging.getLogger(__name__)

OnStep = Callable[[str], None]


async def _nothing() -> None:
    """Stand in for a listener that is not there."""


class Journal(Struct, frozen=True):
    """An apply that has begun: from which generation (0: none) to which, and the digest of the latter."""

    before: int
    after: int
    digest: str


class Applier:
    """The one writer of a state directory; `before_reload` is told before a worker is replaced."""

    def __init__(
        self,
        state: State,
        options: Options,
        haproxy: Haproxy,
        store: Store,
        *,
        daemons: Sequence[Daemon] = (),
        before_reload: Callable[[], Awaitable[None]] = _nothing,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._state = state
        self._renderer = Renderer(options)
        self._places = options.countries, options.systems
        self._decoder = Decoder()
        self._haproxy = haproxy
        self._store = store
        self._daemons = Daemons(daemons)
        self._generations = Generations(state.haproxy)
        self._before_reload = before_reload
        self._step = on_step
        self._known: tuple[int, Artefact] | None = None
        self._applied: tuple[str, Snapshot] | None = None

    def snapshot(self) -> Snapshot | None:
        """Return what is in service as the control plane stated it, or None before the first apply."""
        if self._applied is None or self._applied[0] != self.identity().digest:
            stored = self.stored()
            snapshot = None if stored is None else self._readable(stored)
            if stored is None or snapshot is None:
                return None
            self._applied = (stored.digest, snapshot)
        return self._applied[1]

    def _readable(self, stored: Stored) -> Snapshot | None:
        """Return a stored snapshot if it is what runs and of a format that this version reads.

        After an upgrade it may not be; what runs goes on, and the control plane sends the new format.
        """
        if stored.digest != self.identity().digest:
            return None
        try:
            return self._decoder.decode(stored.snapshot, stored.digest)
        except SchemaError as error:
            log.warning("stored_snapshot_of_another_version", extra={"error": str(error)})
            return None

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock of the state directory over a whole write and reload, against other processes too."""
        descriptor = os.open(self._state.lock_file, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def running(self) -> tuple[int, Artefact] | None:
        """Return number and content of the generation in service, from disk when somebody else changed it."""
        number = self._generations.current()
        if number is None:
            return None
        if self._known is None or self._known[0] != number:
            self._known = (number, self._generations.read(number))
        return self._known

    def identity(self) -> Identity:
        """Return which configuration is in service."""
        running = self.running()
        return identity_of(running[1]) if running else Identity()

    async def apply(self, config: protocol.Config, patch: protocol.Patch | None = None) -> protocol.Applied:
        """Put a configuration into service; `patch` is how it came, if it was one.

        Raises:
            ApplyError: it is not; what ran before is in service.
        """
        began = time.monotonic()
        async with self.locked():
            before = self.snapshot() or empty_snapshot()
            snapshot = self._decoded(config, patch)
            self._guard(snapshot, allow_shrink=config.allow_shrink)
            identity = Identity(epoch=config.epoch, revision=config.revision, digest=config.digest)
            artefact = self._rendered(snapshot, identity)
            async with self._daemons_along(before, snapshot) as changed:
                done = await self._put(artefact, identity, bytes(config.snapshot))
            if changed:
                how = "runtime" if done.how == "nothing" else done.how
                done = msgspec.structs.replace(done, how=how, reason=f"{done.reason}; {changed}")
            self._applied = (config.digest, snapshot)
        spent = int((time.monotonic() - began) * 1000)
        log.info("configuration_applied", extra={"revision": config.revision, "how": done.how, "reason": done.reason})
        return protocol.Applied(
            epoch=config.epoch,
            revision=config.revision,
            digest=config.digest,
            how=done.how,
            reason=done.reason[:2000],
            duration_ms=spent,
        )

    @contextlib.asynccontextmanager
    async def _daemons_along(self, before: Snapshot, after: Snapshot) -> AsyncIterator[str]:
        """Take the daemons to a snapshot, and back if what is done inside fails; yields what changed."""
        self._step("daemons")
        await self._daemons.check(after)
        try:
            yield await self._daemons.apply(after)
        except BaseException:
            await self._daemons.keep(before)
            raise

    def _decoded(self, config: protocol.Config, patch: protocol.Patch | None) -> Snapshot:
        self._step("decode")
        if digest_of(bytes(config.snapshot)) != config.digest:
            raise ApplyError("decode", "the snapshot does not have the digest that was announced")
        try:
            patched = None if patch is None else self._decoder.patched(patch)
            return self._decoder.decode(config.snapshot, config.digest) if patched is None else patched
        except SchemaError as error:
            raise ApplyError("decode", f"this agent cannot use the snapshot: {error}") from error

    def _guard(self, snapshot: Snapshot, *, allow_shrink: bool) -> None:
        self._step("guard")
        running = self.running()
        runs = len(running[1].maps["hosts"]) if running else 0
        if len(snapshot.domains) * 2 < runs and not allow_shrink:
            raise ApplyError(
                "guard",
                f"Held back: the new configuration has {len(snapshot.domains)} domains, this shield runs {runs}, and "
                "nobody removed that many. Remove domains in the dashboard, or change any of them, to go on.",
            )

    def _rendered(self, snapshot: Snapshot, identity: Identity) -> Artefact:
        self._step("render")
        return self._renderer.render(snapshot, identity)

    async def _put(self, new: Artefact, identity: Identity, snapshot: bytes) -> Plan:
        running = self.running()
        if running is not None:
            new.maps["meta"] = {**new.maps["meta"], "generation": running[1].maps["meta"].get("generation", "")}
        todo = plan(running[1] if running else None, new)
        if todo.how == "nothing":
            return todo
        number = self._generations.next_number()
        new.maps["meta"] = {**new.maps["meta"], "generation": str(number)}
        todo = todo.with_meta(running[1] if running else None, new)
        journal = Journal(running[0] if running else 0, number, identity.digest)
        if todo.how == "runtime" and await self._changed_worker(todo, journal):
            await self._follow_worker(new, journal)
        else:
            todo = await self._put_by_reload(new, journal, todo)
        self._known = (number, new)
        self._step("store")
        self._store.save(
            Stored(epoch=identity.epoch, revision=identity.revision, digest=identity.digest, snapshot=snapshot)
        )
        self._finish()
        return todo

    async def _changed_worker(self, todo: Plan, journal: Journal) -> bool:
        """Change the running worker; False if it has to be replaced, because there is none or it refuses."""
        if self._haproxy.master() is None:
            return False
        self._write_journal(journal)
        self._step("runtime")
        try:
            await self._haproxy.change(todo.servers, todo.changes)
            await self._haproxy.await_generation(journal.after)
        except HaproxyError as error:
            log.warning("runtime_change_failed", extra={"error": str(error)})
            return False
        return True

    async def _follow_worker(self, new: Artefact, journal: Journal) -> None:
        """Make the disk say what the worker has been told already; if it cannot, the worker goes back."""
        try:
            self._write(new, journal)
        except ApplyError:
            with contextlib.suppress(HaproxyError):
                await self._replace_worker(journal.before)
            self._finish()
            raise
        self._step("switch")
        self._generations.switch(journal.after)

    def _write(self, new: Artefact, journal: Journal) -> None:
        self._step("write")
        running = self.running()
        self._generations.write(journal.after, new, running[1] if running else None)

    async def _put_by_reload(self, new: Artefact, journal: Journal, todo: Plan) -> Plan:
        self._write(new, journal)
        try:
            await self._check(journal.after)
            self._write_journal(journal)
            return await self._take_into_service(journal.after, journal.before, todo)
        except BaseException:
            self._generations.discard(journal.after)
            raise

    async def _check(self, number: int) -> None:
        self._step("check")
        try:
            refusal = await self._haproxy.check(self._generations.path(number))
        except AgentError as error:
            raise ApplyError("check", str(error)) from error
        if refusal:
            raise ApplyError("check", refusal)

    async def _take_into_service(self, number: int, before: int, todo: Plan) -> Plan:
        """Switch and reload; on failure switch and reload back, then raise."""
        self._step("switch")
        self._generations.switch(number)
        try:
            done = await self._activate(todo, number)
            self._step("probe")
            if not await self._haproxy.answers_publicly():
                raise ApplyError("probe", "the public listeners do not answer")
        except (HaproxyError, ApplyError) as error:
            await self._go_back(before)
            stage = error.stage if isinstance(error, ApplyError) else "reload"
            raise ApplyError(stage, str(error)) from error
        return done

    async def _activate(self, todo: Plan, number: int) -> Plan:
        self._step("reload")
        if self._haproxy.master() is None:
            await self._haproxy.start()
            return Plan("reload", f"HAProxy started; {todo.reason}")
        await self._replace_worker(number)
        if todo.how == "runtime":
            return Plan("reload", f"the running worker refused a change; {todo.reason}")
        return todo

    async def _replace_worker(self, number: int) -> None:
        log.info("haproxy_reload", extra={"generation": number})
        await self._before_reload()
        await self._haproxy.reload(number)

    async def _go_back(self, before: int) -> None:
        """Put the generation before this apply back into service; visitors have not noticed."""
        if before == 0:
            return
        self._generations.switch(before)
        with contextlib.suppress(HaproxyError):
            await self._before_reload()
            await self._haproxy.replace_master()
        self._finish()

    def _write_journal(self, journal: Journal) -> None:
        self._step("journal")
        try:
            write_atomically(self._state.journal_file, msgspec.json.encode(journal))
        except OSError as error:
            raise ApplyError("write", f"cannot write the journal: {error.strerror or error}") from error

    def _finish(self) -> None:
        self._step("done")
        self._state.journal_file.unlink(missing_ok=True)
        self._generations.prune()

    async def repair(self) -> str | None:
        """Make disk and worker agree after a crash, and HAProxy run; returns what was mended, or None.

        An apply that was stored is finished, any other is undone: the control plane sends it again.
        """
        async with self.locked():
            mended = self._settle_journal()
            if (wanted := self._generations.current()) is None:
                await self._put(self._rendered(empty_snapshot(), _EMPTY), _EMPTY, empty_snapshot().encode())
                return mended
            if self._haproxy.master() is None:
                await self._start_best()
                return mended or "HAProxy was not running and was started"
            if await self._haproxy.running_generation() != wanted:
                await self._replace_worker(wanted)
                return mended or "HAProxy ran another configuration than the one on disk and was reloaded"
            return mended

    async def _start_best(self) -> None:
        """Start HAProxy on the newest configuration that it accepts: current, rendered anew, or an earlier one.

        Raises:
            HaproxyError: none of them starts.
        """
        try:
            await self._haproxy.start()
        except HaproxyError as error:
            log.error("current_configuration_does_not_start", extra={"error": str(error)[-2000:]})
        else:
            return None
        with contextlib.suppress(ApplyError):
            if await self._put_stored():
                return None
        for number in reversed(self._generations.numbers()):
            self._generations.switch(number)
            with contextlib.suppress(HaproxyError):
                return await self._haproxy.start()
        raise HaproxyError(f"no configuration on this shield starts: {self._haproxy.last_words()[-2000:]}")

    def _settle_journal(self) -> str | None:
        try:
            journal = msgspec.json.decode(self._state.journal_file.read_bytes(), type=Journal)
        except (OSError, msgspec.DecodeError):
            self._discard_unfinished()
            return None
        stored = self.stored()
        is_finished = stored is not None and stored.digest == journal.digest
        if not is_finished and journal.before:
            self._generations.switch(journal.before)
        elif not is_finished:
            self._state.current.unlink(missing_ok=True)
        self._finish()
        self._discard_unfinished()
        what = "finished" if is_finished else "undone"
        return f"the agent died while it applied a configuration; that was {what}"

    def _discard_unfinished(self) -> None:
        """Remove generations newer than the current one: written, never in service."""
        current = self._generations.current() or 0
        for number in self._generations.numbers():
            if number > current:
                self._generations.discard(number)

    def stored(self) -> Stored | None:
        """Return the snapshot that was stored last, if it can be read."""
        try:
            return self._store.load()
        except AgentError as error:
            log.warning("stored_snapshot_unreadable", extra={"error": str(error)})
            return None

    async def refresh(self) -> None:
        """Render the stored snapshot again and apply what differs, for example after an upgrade of the agent."""
        async with self.locked():
            await self._put_stored()

    def use_places(self, countries: str, systems: str) -> bool:
        """Take other maps of countries and autonomous systems with the next rendering; False if they are the same."""
        if (countries, systems) == self._places:
            return False
        self._places = countries, systems
        self._renderer.use_places(countries, systems)
        return True

    def use_attacked(self, attacked: frozenset[str]) -> None:
        """Take these domains for attacked with the next rendering."""
        self._renderer.use_attacked(attacked)

    async def _put_stored(self) -> bool:
        stored = self.stored()
        snapshot = None if stored is None else self._readable(stored)
        if stored is None or snapshot is None:
            return False
        identity = Identity(epoch=stored.epoch, revision=stored.revision, digest=stored.digest)
        await self._daemons.keep(snapshot)
        await self._put(self._rendered(snapshot, identity), identity, stored.snapshot)
        return True

    async def keep_daemons(self) -> str:
        """Bring back what is not as it was applied beside HAProxy; returns what was mended."""
        async with self.locked():
            snapshot = self.snapshot()
            return "" if snapshot is None else await self._daemons.keep(snapshot)

    async def revive(self) -> None:
        """Get a worker running again after it died."""
        async with self.locked():
            await self._haproxy.restart()

    async def roll_back(self) -> Identity:
        """Put the previous generation into service.

        Raises:
            AgentError: there is none, or HAProxy refuses it.
        """
        async with self.locked():
            current = self._generations.current() or 0
            earlier = [number for number in self._generations.numbers() if number < current]
            if not earlier:
                raise AgentError("there is no earlier configuration to go back to")
            target = earlier[-1]
            if refusal := await self._haproxy.check(self._generations.path(target)):
                raise AgentError(f"HAProxy refuses the earlier configuration:\n{refusal}")
            identity = identity_of(self._generations.read(target))
            self._write_journal(Journal(current, target, identity.digest))
            self._known = None
            await self._take_into_service(target, current, Plan("reload", "rolled back by hand"))
            self._finish()
        return identity

    def previous_folder(self) -> Path | None:
        """Return the folder of the generation before the current one, or None."""
        current = self._generations.current() or 0
        earlier = [number for number in self._generations.numbers() if number < current]
        return self._generations.path(earlier[-1]) if earlier else None


_EMPTY = Identity(digest=EMPTY_DIGEST)
