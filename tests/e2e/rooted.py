"""A shield on a directory that stands for a machine: an agent of its own version in an environment of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.stack import Stack, free_ports
from lumos_agent.config import DEFAULT_STATE_DIR, State
from tests.agent.test_upgrade import clean, pip
from tests.agent.wheels import environment, wheel


class Machine:
    """A Debian below `root`, with the agent's environment in /opt."""

    def __init__(self, root: Path, version: str) -> None:
        self.root = root
        self.state = State(root / DEFAULT_STATE_DIR.lstrip("/"))
        (root / "opt").mkdir()
        self._environment = environment(root / "opt/lumos-agent")
        pip(self._environment, wheel(root / "opt", version))

    def enroll(self, stack: Stack, token: str) -> None:
        """Become a shield of `stack`."""
        self.command("edge-setup", "--root", self.root, "--dashboard", stack.web)
        http, https, dns = (f"127.0.0.1:{port}" for port in free_ports(3))
        words = ("enroll", "--url", stack.gateway, "--http", http, "--https", https, "--dns", dns, "--local-http", "")
        os.chown(self.state.root, 0, 0)  # the user of a directory cannot read this Python, wherever it is
        self.command("--state-dir", self.state.root, *words, LUMOS_TOKEN=token)

    def command(self, *words: str | Path, **more: str) -> str:
        """Run the installed command as root and return what it prints."""
        argv = [self._environment / "bin/lumos-agent", *words]
        done = subprocess.run(argv, capture_output=True, text=True, env={**clean(), **more}, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the agent."""
        argv = [self._environment / "bin/python", Path(__file__).with_name("errand_agent.py")]
        more = {"LUMOS_TEST_ROOT": str(self.root)}
        with subprocess.Popen(
            [*argv, "--state-dir", self.state.root, "run"], env={**clean(), **more}, cwd="/"
        ) as process:
            try:
                yield
            finally:
                process.terminate()
