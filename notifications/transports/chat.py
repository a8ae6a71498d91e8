"""Chat services through apprise: only those whose host is fixed, built from parts that match a pattern.

People's text never reaches apprise's URL parser, whose options could name files and other hosts. The library is
imported by the worker that needs it: other processes would carry it for nothing.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.module_loading import import_string

from lumos.errors import InvalidInput
from notifications.kinds import Kind
from notifications.models import Channel, Notification
from notifications.transports import SendError, Sent, kept

SECONDS = 30.0
_LIMITS = {"redirect": "no", "cto": "5", "rto": "10"}


@dataclass(frozen=True, kw_only=True)
class Service:
    """A chat service. `pattern` is of what people enter; its groups are the arguments of apprise's `plugin`."""

    name: str
    plugin: str
    pattern: re.Pattern[str]
    example: str
    shown: Callable[[dict[str, str]], str] = lambda parts: ""


def _telegram(parts: dict[str, str]) -> str:
    return f" to {parts['targets']}"


SERVICES = (
    Service(
        name="Discord",
        plugin="discord.NotifyDiscord",
        pattern=re.compile(
            r"https://(?:discord|discordapp)\.com/api/webhooks/(?P<webhook_id>[0-9]{15,22})/"
            r"(?P<webhook_token>[A-Za-z0-9_-]{30,100})"
        ),
        example="https://discord.com/api/webhooks/…",
    ),
    Service(
        name="Slack",
        plugin="slack.NotifySlack",
        pattern=re.compile(
            r"https://hooks\.slack\.com/services/(?P<token_a>T[A-Z0-9]{6,20})/(?P<token_b>B[A-Z0-9]{6,20})/"
            r"(?P<token_c>[A-Za-z0-9]{16,40})"
        ),
        example="https://hooks.slack.com/services/…",
    ),
    Service(
        name="Google Chat",
        plugin="google_chat.NotifyGoogleChat",
        pattern=re.compile(
            r"https://chat\.googleapis\.com/v1/spaces/(?P<workspace>[A-Za-z0-9_-]{6,40})/messages"
            r"\?key=(?P<webhook_key>[A-Za-z0-9_-]{10,80})&token=(?P<webhook_token>[A-Za-z0-9_%=-]{10,120})"
        ),
        example="https://chat.googleapis.com/v1/spaces/…",
    ),
    Service(
        name="Telegram",
        plugin="telegram.NotifyTelegram",
        pattern=re.compile(r"(?P<bot_token>[0-9]{6,12}:[A-Za-z0-9_-]{30,60}) (?P<targets>-?[0-9]{1,20})"),
        example="bot token, a blank and the chat's number: 123456789:AAE… -1001234567890",
        shown=_telegram,
    ),
)
_TYPES = {Kind.SERVER_RECOVERED: "success", Kind.SSL_RENEWED: "success", Kind.TEST: "info"}
_PLAIN: dict[str, dict[str, Any]] = {"Slack": {"include_image": False, "include_footer": False}}


def parsed(text: str) -> tuple[str, str]:
    """Return what may be shown of a chat's address, and the whole of it as it is kept (a secret).

    Raises:
        InvalidInput: no address of a service that can be told; says which can.
    """
    for service in SERVICES:
        if found := service.pattern.fullmatch(text.strip()):
            parts = found.groupdict()
            return service.name + service.shown(parts), json.dumps({"service": service.name, "parts": parts})
    known = "; ".join(f"{service.name} ({service.example})" for service in SERVICES)
    raise InvalidInput(f"This is no address of a chat that can be told. Known are: {known}.", field="target")


def send(channel: Channel, rows: Sequence[Notification]) -> Sent:
    """Post one notification.

    Raises:
        SendError: the service did not take it in time.
    """
    [row] = rows
    kept_address = json.loads(channel.secret.reveal()) if channel.secret is not None else {}
    name, parts = kept_address["service"], kept_address["parts"]
    title, text = _harmless(row.title), _harmless(row.text)
    shown = kept(f"{name}: {title}\n\n{text}")
    result = _chat(name, parts).notify(
        body=text or title,
        title=title if text else "",
        notify_type=_TYPES.get(Kind(row.kind), "warning"),
        body_format="text",
        timeout=SECONDS,
    )
    said = _without_secrets("\n".join(entry.message for entry in result.logs()), parts)
    if not result:
        first = said.partition("\n")[0] or "It did not answer in time."
        raise SendError(f"The service did not take it: {first}"[:300], sent=Sent(request=shown, response=kept(said)))
    return Sent(request=shown, response=kept(said))


def _chat(name: str, parts: dict[str, str]) -> Any:
    """Return apprise with one service of the table, without loading the hundred others."""
    apprise = import_string("apprise.Apprise")
    asset = import_string("apprise.AppriseAsset")(
        app_id="Lumos", app_desc="Lumos", app_url="", http_redirects=False, async_mode=False
    )
    service = next(service for service in SERVICES if service.name == name)
    plugin = import_string(f"apprise.plugins.{service.plugin}")
    chat = apprise(asset=asset)
    chat.add(plugin(**parts, **_LIMITS, **_PLAIN.get(name, {}), asset=asset))
    return chat


def _harmless(text: str) -> str:
    """Keep what others wrote (HAProxy's words, a browser's name) from calling people in the chat."""
    return text.replace("@", "@\u200b").replace("<!", "<\u200b!")


def _without_secrets(text: str, parts: dict[str, Any]) -> str:
    for name, value in parts.items():
        if name != "targets":
            text = text.replace(value, "…")
    return text
