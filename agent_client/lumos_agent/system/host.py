"""The machine, or a directory that stands for its root (an image, a test)."""

import pwd
from pathlib import Path

from lumos_agent.errors import AgentError
from lumos_agent.runner import run

USER = "lumos"
SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)
UNIT_SECONDS = 90.0


class Host:
    """Paths below a root, and the programs that change what is there."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.is_this_machine = self.root == Path("/")

    def path(self, absolute: str) -> Path:
        """Return where `absolute` is below the root."""
        return self.root / absolute.lstrip("/")

    @property
    def has_systemd_running(self) -> bool:
        """Whether units can be started and stopped, not only enabled and disabled."""
        return self.is_this_machine and SYSTEMD_RUNS.is_dir()

    def user(self, name: str) -> pwd.struct_passwd | None:
        """Return a user of /etc/passwd, or None."""
        for row in self._rows("/etc/passwd", name):
            return pwd.struct_passwd((row[0], row[1], int(row[2]), int(row[3]), row[4], row[5], row[6]))
        return None

    def has_group(self, name: str) -> bool:
        """Whether /etc/group knows it."""
        return bool(self._rows("/etc/group", name))

    def _rows(self, path: str, name: str) -> list[list[str]]:
        try:
            lines = self.path(path).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [line.split(":") for line in lines if line.startswith(f"{name}:")]

    async def call(self, *argv: str) -> str:
        """Run a program that must succeed and return its output.

        Raises:
            AgentError: it failed; the message has its own words.
        """
        code, output = await run(argv, timeout_seconds=UNIT_SECONDS)
        if code:
            raise AgentError(f"`{' '.join(argv)}` failed: {output.strip() or f'exit code {code}'}")
        return output

    async def change_accounts(self, program: str, *words: str) -> None:
        """Call useradd(8), userdel(8) or groupdel(8)."""
        prefix = () if self.is_this_machine else ("--prefix", str(self.root.absolute()))
        await self.call(program, *prefix, *words)

    async def change_unit(self, verb: str, unit: str) -> None:
        """Call systemctl to enable or disable a unit, and nothing else."""
        await self.call("systemctl", *self._systemctl_root, "--quiet", verb, unit)

    async def is_enabled(self, unit: str) -> bool:
        """Whether a unit is there and starts at boot."""
        code, output = await run(["systemctl", *self._systemctl_root, "is-enabled", unit])
        return code == 0 and output.split()[-1:] == ["enabled"]

    async def is_active(self, unit: str) -> bool:
        """Whether a unit runs."""
        return self.has_systemd_running and (await run(["systemctl", "--quiet", "is-active", unit]))[0] == 0

    async def tell_systemd(self, *words: str) -> None:
        """Call systemctl about running units; nothing happens where systemd does not run."""
        if self.has_systemd_running:
            await self.call("systemctl", *words)

    @property
    def _systemctl_root(self) -> tuple[str, ...]:
        return () if self.is_this_machine else (f"--root={self.root.absolute()}",)
