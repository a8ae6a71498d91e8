"""What the renderer must know about this machine, and files that HAProxy must find."""

import hashlib
import secrets
from pathlib import Path

from lumos_agent.config import State, write_atomically
from lumos_agent.drivers.build import installed_build, usable_quic
from lumos_agent.render.haproxy import Options, lua_bundle


def options_of(state: State) -> Options:
    """Return what the renderer must know about this machine."""
    _existing(state.crawlers_map, "")
    settings = state.settings()
    return Options(
        http=settings.http,
        https=settings.https,
        run_dir=str(state.run),
        certificates_list=str(_existing(state.certificates_list, f"{state.default_certificate}\n")),
        challenges_map=str(_existing(state.challenges_map, "")),
        alive_map=str(_existing(state.alive_map, "")),
        server_state=str(state.server_state),
        engine=str(_installed_engine(state)),
        proxy_protocol_from=settings.proxy_protocol_from,
        quic=usable_quic(installed_build(), settings.https),
    )


def _existing(path: Path, text: str) -> Path:
    """Make sure that HAProxy finds a file that the agent will write later."""
    if not path.exists():
        write_atomically(path, text.encode())
    return path


def _installed_engine(state: State) -> Path:
    """Write this version's WAF engine under a name of its own, so that a check never reads another one."""
    source = lua_bundle().encode()
    _existing(state.check_key, secrets.token_hex(32))
    path = state.engine / f"waf-{hashlib.sha256(source).hexdigest()[:16]}.lua"
    if not path.exists():
        write_atomically(path, source)
    return path
