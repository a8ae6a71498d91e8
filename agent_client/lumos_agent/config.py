"""The state directory: where everything lives, and the agent's own few settings."""

import os
import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from lumos_agent.errors import AgentError
from lumos_agent.grammar import Network

DEFAULT_STATE_DIR = "/var/lib/lumos"
SOCKET_PATH_MAX = 90  # of 107: HAProxy appends ".<pid>.tmp" while it binds
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}

# Loopback only: who may talk to this machine's loopback may know how the shield does.
LocalListen = Annotated[str, Meta(pattern=r"\A(?:(?:127\.[0-9.]{5,11}|\[::1\]):[0-9]{1,5})?\Z")]
Listen = Annotated[str, Meta(pattern=r"\A(?:[0-9.]{7,15}|\[[0-9a-f:]{2,39}\]):[0-9]{1,5}\Z")]


class Settings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What enrolment decides. Listen addresses are `address:port` with brackets around IPv6.

    `dns` is where zones are answered, while there are any. `poll_seconds` is how often the gateway is asked where
    WebSockets are refused. `local_http` is where metrics and health are served; empty means nowhere. Connections from
    `proxy_protocol_from` (load balancers) begin with a PROXY protocol header, which says who the visitor is. The
    databases are files in MaxMind's format; empty means geo/country.mmdb and geo/asn.mmdb below the state directory.
    """

    gateway_url: str
    server_id: str = ""
    http: tuple[Listen, ...] = ("0.0.0.0:80", "[::]:80")
    https: tuple[Listen, ...] = ("0.0.0.0:443", "[::]:443")
    dns: Annotated[tuple[Listen, ...], Meta(min_length=1)] = ("0.0.0.0:53", "[::]:53")
    ca_file: str = ""
    acme_ca_file: str = ""
    acme_http_port: int = 80
    proxy_protocol_from: tuple[Network, ...] = ()
    poll_seconds: Annotated[int, Meta(ge=1, le=3600)] = 60
    local_http: LocalListen = "127.0.0.1:9101"
    country_database: str = ""
    asn_database: str = ""


def split_listen(listen: str) -> tuple[str, int]:
    """Return (address without brackets, port)."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def probe_port(settings: Settings) -> int:
    """Return the port at which the shield answers probes, 0 for none."""
    return split_listen(settings.http[0])[1] if settings.http else 0


def reachable(listen: str) -> tuple[str, int]:
    """Return where this machine reaches one of its own listeners."""
    address, port = split_listen(listen)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), port  # noqa: S104 - compared, not bound


def is_private(url: str) -> bool:
    """Tell whether nobody on the way can read or change what travels: by TLS, or because it stays on this machine."""
    parts = urlsplit(url)
    return parts.hostname is not None and (parts.scheme in ("https", "wss") or parts.hostname in _LOOPBACK)


def checked_gateway_url(url: str) -> str:
    """Return `url` if it is wss://, or ws:// to this machine.

    Raises:
        AgentError: the token would travel in the clear.
    """
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in ("ws", "wss"):
        raise AgentError(f"{url!r} is not a gateway URL; it looks like wss://lumos.example.com/agent/v1")
    if not is_private(url):
        raise AgentError(f"{url} would send the token unencrypted; use wss:// (ws:// is allowed to this machine only)")
    return url


class State:
    """Paths below the state directory, and the two files that enrolment writes."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.settings_file = self.root / "agent.json"
        self.token_file = self.root / "token"
        self.snapshot_file = self.root / "snapshot.enc"
        self.lock_file = self.root / "lock"
        self.spool_file = self.root / "metrics.json"
        self.crawlers_file = self.root / "crawlers.json"
        self.aliases_file = self.root / "aliases.json"
        self.peers_file = self.root / "peers.json"
        self.errand_file = self.root / "errand.json"
        self.watches_file = self.root / "watches.json"
        self.engine = self.root / "engine"
        self.check_key = self.engine / "check.key"
        self.geo = self.root / "geo"
        self.tunnels = self.root / "tunnels"
        self.zone_keys = self.root / "zone-keys"
        self.signed_file = self.root / "signed"
        self.events = self.root / "events"
        self.haproxy = self.root / "haproxy"
        self.current = self.haproxy / "current"
        self.journal_file = self.haproxy / "apply.json"
        self.haproxy_log = self.root / "haproxy.log"
        self.forwards = self.root / "forwards"
        self.nftables = self.root / "nftables"
        self.certificates = self.root / "certs"
        self.default_certificate = self.certificates / "default.pem"
        self.certificates_list = self.certificates / "list"
        self.sealing_key = self.certificates / "sealing.pem"
        self.certificates_file = self.certificates / "status.json"
        self.acme = self.root / "acme"
        self.run = self.root / "run"
        self.master_socket = self.run / "m.sock"
        self.worker_socket = self.run / "w.sock"
        self.probe_socket = self.run / "p.sock"
        self.fifo = self.run / "events"
        self.answers_fifo = self.run / "answers"
        self.crawlers_map = self.run / "crawlers.map"
        self.alive_map = self.run / "alive.map"
        self.challenges_map = self.run / "challenges.map"
        self.pid_file = self.run / "haproxy.json"
        self.server_state = self.run / "server-state"
        self.status_file = self.run / "status.json"
        self.forwards_master_socket = self.run / "fm.sock"
        self.forwards_socket = self.run / "fw.sock"

    def create(self) -> None:
        """Make the directories, readable by their owner only.

        Raises:
            AgentError: the path is too long for the sockets, or not writable.
        """
        if len(str(self.worker_socket)) > SOCKET_PATH_MAX:
            raise AgentError(
                f"the state directory {self.root} is too deep: a socket's path must stay within {SOCKET_PATH_MAX} "
                "characters; choose a shorter one with --state-dir"
            )
        try:
            for directory in (
                self.root,
                self.haproxy,
                self.run,
                self.events,
                self.engine,
                self.geo,
                self.certificates,
                self.forwards,
                self.nftables,
            ):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise AgentError(f"cannot create {error.filename}: {error.strerror}") from error

    def settings(self) -> Settings:
        """Read the settings.

        Raises:
            AgentError: not enrolled, or the file is damaged.
        """
        try:
            return msgspec.json.decode(self.settings_file.read_bytes(), type=Settings)
        except FileNotFoundError as error:
            raise AgentError(f"{self.root} is not enrolled; run `lumos-agent enroll` first") from error
        except (OSError, msgspec.DecodeError) as error:
            raise AgentError(f"cannot read {self.settings_file}: {error}; run `lumos-agent enroll` again") from error

    def save_settings(self, settings: Settings) -> None:
        """Write the settings."""
        write_atomically(self.settings_file, msgspec.json.format(msgspec.json.encode(settings)))

    def token(self) -> str:
        """Read the server token."""
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AgentError(f"cannot read {self.token_file}; run `lumos-agent enroll` again") from error


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` so that a crash leaves the old or the new content, never a part.

    `durable` also survives the loss of power; without it only the death of this process.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
