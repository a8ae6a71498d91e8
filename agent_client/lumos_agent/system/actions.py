"""Changes to a machine. Each remembers what it found, so that it can be taken back exactly, by a later version too."""

import contextlib
import os
from pathlib import Path
from typing import Any

from msgspec import Struct

from lumos_agent.config import write_atomically
from lumos_agent.system.host import Host


class FileBefore(Struct, frozen=True):
    """A file or directory as it was; `mode` is None where there was none."""

    mode: int | None = None
    uid: int = 0
    gid: int = 0
    content: bytes = b""


class UserBefore(Struct, frozen=True):
    """Whether a user and the group of that name were there."""

    user: bool = False
    group: bool = False


class ServiceBefore(Struct, frozen=True):
    """Whether a service started at boot, and whether it ran."""

    enabled: bool = False
    active: bool = False


class Action(Struct, kw_only=True, tag_field="kind"):
    """One change to `target` below `root`. `do` may run twice; `undo` may follow a `do` that did not get far."""

    root: str
    target: str
    before: Any

    @property
    def host(self) -> Host:
        """The machine."""
        return Host(self.root)

    def describe(self) -> str:
        """Return what `do` does, as a command of English."""
        raise NotImplementedError

    async def remember(self) -> None:
        """Look at what is there before the first `do`."""
        raise NotImplementedError

    def recall(self, earlier: Any) -> None:
        """Take over what the same action remembers from before its first `do`."""
        self.before = earlier.before

    async def do(self) -> str:
        """Make the change; returns a remark if it could not be made in full."""
        raise NotImplementedError

    async def undo(self) -> None:
        """Bring back what `remember` saw."""
        raise NotImplementedError


class CreateUser(Action, kw_only=True, tag="user"):
    """A system user that cannot log in, with a group of the same name."""

    home: str
    before: UserBefore = UserBefore()

    def describe(self) -> str:
        return f"create the system user {self.target}, who cannot log in"

    async def remember(self) -> None:
        self.before = UserBefore(self.host.user(self.target) is not None, self.host.has_group(self.target))

    async def do(self) -> str:
        if self.host.user(self.target) is None:
            group = ("--gid", self.target) if self.host.has_group(self.target) else ("--user-group",)
            words = ("--system", *group, "--no-create-home", "--home-dir", self.home, "--shell", "/usr/sbin/nologin")
            await self.host.change_accounts("useradd", *words, self.target)
        return ""

    async def undo(self) -> None:
        if not self.before.user and self.host.user(self.target) is not None:
            await self.host.change_accounts("userdel", self.target)
        if not self.before.group and self.host.has_group(self.target):
            await self.host.change_accounts("groupdel", self.target)


class OwnDirectory(Action, kw_only=True, tag="directory"):
    """A directory that belongs to a user with everything in it. Taken back, what is in it stays, for root only."""

    owner: str
    mode: int = 0o700
    before: FileBefore = FileBefore()

    def describe(self) -> str:
        return f"give {self.target} to {self.owner}, mode {self.mode:o}"

    async def remember(self) -> None:
        self.before = _look(self.host.path(self.target))

    async def do(self) -> str:
        path, user = self.host.path(self.target), self.host.user(self.owner)
        path.mkdir(mode=self.mode, parents=True, exist_ok=True)
        if user is not None and path.stat().st_uid != user.pw_uid:
            _give(path, user.pw_uid, user.pw_gid)
        path.chmod(self.mode)
        return ""

    async def undo(self) -> None:
        path = self.host.path(self.target)
        if self.before.mode is None:
            with contextlib.suppress(OSError):
                path.rmdir()
        if path.exists():
            _give(path, self.before.uid, self.before.gid)
            path.chmod(self.mode if self.before.mode is None else self.before.mode)


class WriteFile(Action, kw_only=True, tag="file"):
    """A file with this content."""

    content: str
    mode: int = 0o644
    before: FileBefore = FileBefore()

    def describe(self) -> str:
        return f"write {self.target}"

    async def remember(self) -> None:
        path = self.host.path(self.target)
        self.before = _look(path, content=path.read_bytes() if path.exists() else b"")

    async def do(self) -> str:
        path = self.host.path(self.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.content.encode(), mode=self.mode)
        path.chmod(self.mode)
        return ""

    async def undo(self) -> None:
        path = self.host.path(self.target)
        if self.before.mode is None:
            path.unlink(missing_ok=True)
            return
        write_atomically(path, self.before.content, mode=self.before.mode)
        os.chown(path, self.before.uid, self.before.gid)
        path.chmod(self.before.mode)


class LinkCommand(Action, kw_only=True, tag="link"):
    """A link by which people find the command; another program of that name is left alone."""

    to: str
    before: str | None = None

    def describe(self) -> str:
        return f"link {self.target} to {self.to}"

    async def remember(self) -> None:
        path = self.host.path(self.target)
        self.before = str(path.readlink()) if path.is_symlink() else None

    async def do(self) -> str:
        path = self.host.path(self.target)
        if path.exists() and not path.is_symlink():
            return "not done: another program has that name"
        self._link(path, self.to)
        return ""

    async def undo(self) -> None:
        path = self.host.path(self.target)
        if self.before is not None:
            self._link(path, self.before)
        elif path.is_symlink():
            path.unlink()

    def _link(self, path: Path, to: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(to)


class InstallUnit(WriteFile, kw_only=True, tag="unit"):
    """A unit file that systemd knows of."""

    def describe(self) -> str:
        return f"install the service {self.target}"

    async def do(self) -> str:
        await WriteFile.do(self)
        await self.host.tell_systemd("daemon-reload")
        return ""

    async def undo(self) -> None:
        await WriteFile.undo(self)
        await self.host.tell_systemd("daemon-reload")


class DisableService(Action, kw_only=True, tag="service"):
    """A service of the distribution that would be in the way."""

    before: ServiceBefore = ServiceBefore()

    def describe(self) -> str:
        return f"stop and disable the distribution's {self.target}"

    async def remember(self) -> None:
        self.before = ServiceBefore(await self.host.is_enabled(self.target), await self.host.is_active(self.target))

    async def do(self) -> str:
        if await self.host.is_active(self.target):
            await self.host.tell_systemd("stop", self.target)
        if await self.host.is_enabled(self.target):
            await self.host.change_unit("disable", self.target)
        return ""

    async def undo(self) -> None:
        if self.before.enabled:
            await self.host.change_unit("enable", self.target)
        if self.before.active:
            await self.host.tell_systemd("start", self.target)


class SetKernel(Action, kw_only=True, tag="kernel"):
    """Kernel settings of the running system (sysctl(8)); a key that this kernel lacks is left out."""

    values: dict[str, str]
    before: dict[str, str] = {}
    target: str = "/proc/sys"

    def describe(self) -> str:
        return "set " + ", ".join(f"{key} = {value}" for key, value in self.values.items())

    def _file(self, key: str) -> Path:
        return self.host.path(f"{self.target}/{key.replace('.', '/')}")

    async def remember(self) -> None:
        files = {key: self._file(key) for key in self.values}
        self.before = {key: file.read_text().strip() for key, file in files.items() if file.exists()}

    def recall(self, earlier: Any) -> None:
        self.before |= earlier.before

    async def do(self) -> str:
        refused = self._set({key: value for key, value in self.values.items() if self._file(key).exists()})
        return f"not now, only at the next start: {', '.join(refused)}" if refused else ""

    async def undo(self) -> None:
        self._set(self.before)

    def _set(self, values: dict[str, str]) -> list[str]:
        """Write the values; returns the keys that a container may not change."""
        refused = []
        for key, value in values.items():
            try:
                self._file(key).write_text(f"{value}\n")
            except OSError:
                refused.append(key)
        return refused


AnyAction = CreateUser | OwnDirectory | WriteFile | LinkCommand | InstallUnit | DisableService | SetKernel


def _look(path: Path, content: bytes = b"") -> FileBefore:
    if not path.exists():
        return FileBefore()
    found = path.stat()
    return FileBefore(found.st_mode & 0o7777, found.st_uid, found.st_gid, content)


def _give(path: Path, uid: int, gid: int) -> None:
    """Change the owner of a tree; links are not followed."""
    for _, directories, files, folder in os.fwalk(path):
        for name in (*directories, *files):
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    os.chown(path, uid, gid)
