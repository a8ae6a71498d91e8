"""What other apps tell of: one function per cause, called in the transaction of the change."""

from typing import Any

from domains.models import Domain
from lumos_agent import protocol
from notifications.kinds import Kind
from notifications.models import Channel
from notifications.outbox import record
from servers.models import Server

_RELOAD_STAGES = {"switch", "reload", "probe"}


def _about(server: Server | None = None, domain: Domain | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if server is not None:
        found["server"] = {"id": str(server.pk), "name": server.name}
    if domain is not None:
        found["domain"] = {"id": str(domain.pk), "hostname": domain.hostname}
    return found


def _time(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def server_down(server: Server, *, is_flapping: bool) -> None:
    """A shield was not heard from for two minutes, or keeps going and coming."""
    seen = server.last_seen_at
    if is_flapping:
        title = f"{server.name} keeps going down and coming back"
        text = "You are told again when it has stayed the same for half an hour."
    else:
        title = f"{server.name} is down"
        text = f"It was last heard from at {seen:%Y-%m-%d %H:%M:%S} UTC." if seen else ""
    data = {**_about(server), "last_seen_at": _time(seen), "is_flapping": is_flapping}
    record(Kind.SERVER_DOWN, key=f"server_down:{server.pk}", title=title, text=text, data=data, server=server)


def server_recovered(server: Server) -> None:
    """A shield that was down is back."""
    text = "Its agent is connected and applies changes."
    key = f"server_recovered:{server.pk}"
    record(
        Kind.SERVER_RECOVERED, key=key, title=f"{server.name} is back", text=text, data=_about(server), server=server
    )


def haproxy_crashed(server: Server, words: str) -> None:
    """HAProxy ended on a shield and was started again."""
    _server_error(server, "haproxy_crash", f"HAProxy crashed on {server.name}", words)


def apply_failed(server: Server, report: protocol.Failed) -> None:
    """A shield did not take a configuration, or one was held back."""
    if report.stage in _RELOAD_STAGES:
        _server_error(server, "haproxy_reload_failed", f"HAProxy on {server.name} could not reload", report.message)
    else:
        _server_error(server, "config_update_failed", f"{server.name} refused its configuration", report.message)


def _server_error(server: Server, reason: str, title: str, words: str) -> None:
    data = {**_about(server), "reason": reason, "message": words[:2000]}
    key = f"server_error:{reason}:{server.pk}"
    record(Kind.SERVER_ERROR, key=key, title=title, text=words, data=data, server=server)


def channel_disabled(channel: Channel) -> None:
    """A channel was switched off because it did not work."""
    text = f"{channel.disabled_reason}\nWhat waited for it was given up. Switch it on again when it works."
    data = {"channel": {"id": str(channel.pk), "name": channel.name}, "reason": channel.disabled_reason}
    title = f"The channel {channel.name} was switched off"
    record(Kind.CHANNEL_DISABLED, key=f"channel_disabled:{channel.pk}", title=title, text=text, data=data)
