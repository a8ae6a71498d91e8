"""All processes of Lumos on this machine under one supervisor, with free ports and generated secrets."""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
HOSTNAME = "demo.example"
EMAIL = "demo@example.com"
PORT_NAMES = ("web", "gateway", "redis", "postgres", "origin", "http", "https", "dns", "metrics")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
PATH_MAX = 60  # of a directory that holds unix sockets
MARK = "LUMOS_STACK"


class StackError(Exception):
    """The stack did not come up; the message says which part and shows its log."""


class Stack:
    """One set of processes with its data under `folder`; `parts` are those of the control plane, and the origin."""

    parts: tuple[str, ...] = ("web", "gateway", "worker", "courier", "beat", "origin")

    def __init__(self, folder: Path, *, profile: str = "embedded") -> None:
        self.folder = folder.absolute()
        self.profile = profile
        self.logs = self.folder / "log"
        self.short = self.folder if len(str(self.folder)) <= PATH_MAX else _short_folder(self.folder)
        self.agent_state = self.short / "agent"
        self._config = self.folder / "supervisord.conf"
        self._ports_file = self.folder / "ports.json"
        self._secrets_file = self.folder / "secrets.json"
        self.ports: dict[str, int] = _read_json(self._ports_file)
        self.secrets: dict[str, str] = _read_json(self._secrets_file)

    # What others need to know

    @property
    def web(self) -> str:
        """URL of the dashboard."""
        return f"http://127.0.0.1:{self.ports['web']}"

    @property
    def gateway(self) -> str:
        """URL of the agents' WebSocket."""
        return f"ws://127.0.0.1:{self.ports['gateway']}/agent/v1"

    @property
    def redis_url(self) -> str:
        """URL of Redis."""
        return f"redis://127.0.0.1:{self.ports['redis']}/0"

    @property
    def database_url(self) -> str:
        """URL of the database."""
        if self.profile == "postgres":
            return f"postgresql://lumos@127.0.0.1:{self.ports['postgres']}/postgres"
        return f"sqlite:///{self.folder / 'lumos.sqlite3'}"

    def environment(self) -> dict[str, str]:
        """What every process of the stack is told."""
        return {
            MARK: str(self.folder),
            "VAR_DIR": str(self.folder),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "SECRET_KEY_FILE": str(self.folder / "secret_key"),
            "SECRETS_KEYS_FILE": str(self.folder / "secrets_keys"),
            "PUBLIC_URL": self.web,
            "ACME_DIRECTORY_URL": os.environ.get("ACME_DIRECTORY_URL", "off"),
            "CDN_REFRESH": os.environ.get("CDN_REFRESH", "off"),
            "GATEWAY_URL": self.gateway,
            "DJANGO_SETTINGS_MODULE": "lumos.settings.base",
        }

    def demo(self) -> dict[str, Any]:
        """The content of demo.json."""
        local = "127.0.0.1"
        return {
            "web": self.web,
            "api": f"{self.web}/api/v1",
            "gateway": self.gateway,
            "email": EMAIL,
            "password": self.secrets["password"],
            "api_key": self.secrets["api_key"],
            "account": self.secrets["account"],
            "server": self.secrets["server"],
            "domain": self.secrets["domain"],
            "hostname": HOSTNAME,
            "shield_http": f"{local}:{self.ports['http']}",
            "shield_https": f"{local}:{self.ports['https']}",
            "origin": f"{local}:{self.ports['origin']}",
            "agent_http": f"{local}:{self.ports['metrics']}",
            "agent_state_dir": str(self.agent_state),
            "haproxy_cfg": str(self.agent_state / "haproxy" / "current" / "haproxy.cfg"),
        }

    # Starting and stopping

    def is_running(self) -> bool:
        """Whether the supervisor answers."""
        return self._config.exists() and self.control("pid", check=False).returncode == 0

    def start(self) -> None:
        """Start everything, create the demo, and return when a request has passed through the shield.

        Raises:
            StackError: a part did not come up; everything is stopped again.
        """
        try:
            self.start_control_plane()
            self._enroll()
            self.control("start", "agent")
            self._until("agent", lambda: self._agent_is_connected() and self.shield_status("/") == 200)
        except BaseException:
            self.stop()
            raise

    def start_control_plane(self) -> None:
        """Start everything but the demo's agent, and return when pages and gateway answer.

        Raises:
            StackError: a part did not come up.
        """
        self._prepare()
        self._supervise()
        self._migrate()
        self._create_demo()
        self.control("start", "app:*")
        self._until("web", lambda: _status(f"{self.web}/healthz") == 200)
        self._until("gateway", lambda: _status(f"http://127.0.0.1:{self.ports['gateway']}/healthz") == 200)

    def _prepare(self) -> None:
        for folder in (self.folder, self.logs, self.short):
            folder.mkdir(parents=True, exist_ok=True)
        self.end_strays()
        free = free_ports(len(PORT_NAMES))
        self.ports = {n: p if (p := self.ports.get(n, 0)) and _is_free(p) else free.pop() for n in PORT_NAMES}
        write_private(self._ports_file, json.dumps(self.ports))
        if not (self.folder / "secret_key").exists():
            write_private(self.folder / "secret_key", secrets.token_urlsafe(48))
        if not (self.folder / "secrets_keys").exists():
            write_private(self.folder / "secrets_keys", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        self.secrets.setdefault("password", secrets.token_urlsafe(12))
        write_private(self._secrets_file, json.dumps(self.secrets))
        if self.profile == "postgres":
            self._init_postgres()
        write_private(self._config, self._supervisor_config())

    def _programs(self) -> dict[str, tuple[str, dict[str, str]]]:
        daphne = f"{BIN}/daphne --verbosity 0 -e tcp:interface=127.0.0.1:backlog=4096:port="
        celery, quiet = f"{BIN}/celery -A lumos", "--loglevel WARNING"
        beat = self.folder / "beat"
        programs: dict[str, tuple[str, dict[str, str]]] = {
            "redis": (
                # Its title would be written over its environment, by which what a killed supervisor left is found.
                f"redis-server --port {self.ports['redis']} --bind 127.0.0.1 --save '' --dir {self.folder} "
                "--set-proc-title no",
                {},
            ),
            "web": (f"{daphne}{self.ports['web']} lumos.asgi:application", {"LUMOS_ROLE": "web"}),
            "gateway": (f"{daphne}{self.ports['gateway']} lumos.asgi:application", {"LUMOS_ROLE": "gateway"}),
            "worker": (f"{celery} worker --concurrency 1 {quiet}", {}),
            "courier": (f"{celery} worker -n courier@%h -Q deliveries --pool threads --concurrency 32 {quiet}", {}),
            "beat": (f"{celery} beat --schedule {beat} --pidfile= --loglevel WARNING", {}),
            "origin": (f"{BIN}/python {ROOT}/deploy/demo_origin.py --port {self.ports['origin']}", {}),
            "agent": (f"{BIN}/lumos-agent --state-dir {self.agent_state} run", {}),
        }
        if self.profile == "postgres":
            data = self.folder / "postgres"
            command = f"{_postgres_bin()}/postgres -D {data} -p {self.ports['postgres']} -h 127.0.0.1 -k {self.short}"
            programs["postgres"] = (command.replace(f"-k {self.short}", "-k ''"), {})
        return programs

    def _supervisor_config(self) -> str:
        lines = [
            "[supervisord]", f"logfile={self.logs}/supervisord.log", f"pidfile={self.folder}/supervisord.pid",
            f"directory={ROOT}", f"environment={_pairs(self.environment())}", "minfds=4096",
            "[unix_http_server]", f"file={self.short}/supervisor.sock", "chmod=0700",
            "[supervisorctl]", f"serverurl=unix://{self.short}/supervisor.sock",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[group:app]", f"programs={','.join(self.parts)}",
        ]  # fmt: skip
        programs = self._programs()
        for name in (*self.parts, *(programs.keys() - set(Stack.parts))):
            command, extra = programs[name]
            lines += [
                f"[program:{name}]", f"command={command.replace('%', '%%')}", f"stdout_logfile={self.logs}/{name}.log",
                "redirect_stderr=true", "autorestart=true", "startretries=1000000", "stopwaitsecs=10", "startsecs=1",
                "stopasgroup=false", f"autostart={'true' if name in ('redis', 'postgres') else 'false'}",
            ]  # fmt: skip
            if extra:
                lines.append(f"environment={_pairs(extra)}")
            if name == "postgres" and os.geteuid() == 0:
                lines.append("user=postgres")
            if name == "postgres":
                lines.append("stopsignal=INT")
        return "\n".join(lines) + "\n"

    def _supervise(self) -> None:
        with (self.logs / "supervisord.out").open("wb") as output:
            subprocess.run(
                [str(BIN / "supervisord"), "-c", str(self._config)],
                check=True,
                cwd=ROOT,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._until("redis", lambda: not _is_free(self.ports["redis"]))
        if self.profile == "postgres":
            self._until("postgres", lambda: not _is_free(self.ports["postgres"]))

    def control(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call the supervisor."""
        argv = [str(BIN / "supervisorctl"), "-c", str(self._config), *words]
        done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
        if check and done.returncode:
            raise StackError(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}\n{self._tail_of_all()}")
        return done

    def pid(self, name: str) -> int:
        """Return the process id of a program, 0 if it does not run."""
        full = f"app:{name}" if name in self.parts else name
        text = self.control("pid", full, check=False).stdout.strip()
        return int(text) if text.isdigit() else 0

    def manage(self, *words: str) -> str:
        """Run a management command and return what it prints."""
        argv = [str(BIN / "python"), "manage.py", *words]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise StackError(f"manage.py {words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def _migrate(self) -> None:
        self.manage("migrate", "--noinput", "-v", "0")
        self.manage("collectstatic", "--noinput", "-v", "0")

    def _create_demo(self) -> None:
        arguments = [
            "--email", EMAIL, f"--password={self.secrets['password']}", "--hostname", HOSTNAME,
            "--origin", f"127.0.0.1:{self.ports['origin']}",
        ]  # fmt: skip
        found = json.loads(self.manage("create_demo", *arguments))
        if not {"token", "api_key"} <= {*self.secrets, *found}:
            found = json.loads(self.manage("create_demo", *arguments, "--rotate"))
        self.secrets |= found
        write_private(self._secrets_file, json.dumps(self.secrets))

    def _enroll(self) -> None:
        done = subprocess.run(
            [
                BIN / "lumos-agent", "--state-dir", self.agent_state, "enroll", "--url", self.gateway,
                "--http", f"127.0.0.1:{self.ports['http']}", "--https", f"127.0.0.1:{self.ports['https']}",
                "--dns", f"127.0.0.1:{self.ports['dns']}", "--local-http", f"127.0.0.1:{self.ports['metrics']}",
            ],
            env={**os.environ, "LUMOS_TOKEN": self.secrets["token"]}, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise StackError(f"the agent could not enroll: {done.stderr}\n{self._tail('gateway')}")

    def _init_postgres(self) -> None:
        data = self.folder / "postgres"
        if (data / "PG_VERSION").exists():
            return
        user = "postgres" if os.geteuid() == 0 else None
        data.mkdir(exist_ok=True)
        if user:
            _let_through(self.folder)
            shutil.chown(data, user)
        argv = [
            str(_postgres_bin() / "initdb"),
            "-D",
            str(data),
            "-U",
            "lumos",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        done = subprocess.run(
            argv, capture_output=True, text=True, user=user, cwd="/", env={"PATH": os.environ["PATH"]}
        )
        if done.returncode:
            raise StackError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def stop(self) -> None:
        """End every process of the stack, HAProxy included."""
        if self.is_running():
            pid = int(self.control("pid").stdout)
            self.control("shutdown", check=False)
            _await_end(pid)
        if (self.agent_state / "agent.json").exists():
            subprocess.run(
                [BIN / "lumos-agent", "--state-dir", self.agent_state, "shutdown", "--yes"], capture_output=True
            )
        self.end_strays()

    def end_strays(self) -> None:
        """End what an earlier, killed supervisor left behind: processes that carry this stack's mark."""
        if not self.is_running():
            for pid in marked(str(self.folder)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                _await_end(pid)

    # Looking at it

    def shield_status(self, path: str, hostname: str = HOSTNAME) -> int:
        """Return the status that the shield answers to a GET of `path`."""
        return _status(f"http://127.0.0.1:{self.ports['http']}{path}", {"Host": hostname})

    def _agent_is_connected(self) -> bool:
        """Whether the agent that runs now, not an earlier one, says that the gateway took it."""
        try:
            status = json.loads((self.agent_state / "run" / "status.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(status["connection"] == "connected" and status["pid"] == self.pid("agent"))

    def _until(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not come up within {START_SECONDS:.0f} s\n{self._tail(name)}")
            time.sleep(0.1)

    def _tail(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        text = log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"
        return f"--- end of {log}\n{text}"

    def _tail_of_all(self) -> str:
        return "\n".join(self._tail(path.stem) for path in sorted(self.logs.glob("*.log")) if path.stat().st_size)


def _short_folder(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"lumos-{os.geteuid()}-{name}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.chmod(0o600)
    temporary.write_text(text)
    temporary.replace(path)


def _pairs(values: dict[str, str]) -> str:
    return ",".join(f'{name}="{value.replace("%", "%%")}"' for name, value in values.items())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return `count` loopback ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _status(url: str, headers: dict[str, str] | None = None) -> int:
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _postgres_bin() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not versions:
        raise StackError("PostgreSQL is not installed; `make run PROFILE=postgres` installs it")
    return versions[-1]


def _let_through(folder: Path) -> None:
    """Let the user postgres reach its data below folders that only root may enter."""
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)


def marked(folder: str) -> list[int]:
    """Return the process ids of everything that the stack of `folder` started."""
    wanted = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.05)
