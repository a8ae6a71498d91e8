"""Samples of every kind, for the operator's preview of mails; nothing is stored."""

from django.utils import timezone

from notifications.kinds import TRAITS, Kind
from notifications.models import Notification

_TEXTS = {
    Kind.SERVER_DOWN: ("frankfurt-1 is down", "It was last heard from at 2026-03-01 12:00:00 UTC."),
    Kind.SERVER_RECOVERED: ("frankfurt-1 is back", "Its agent is connected and applies changes."),
    Kind.SERVER_ERROR: (
        "frankfurt-1 refused its configuration",
        "[ALERT] config : parsing [haproxy.cfg:118]: unknown keyword 'balanse' in 'backend' section\n"
        "[ALERT] config : Error(s) found in configuration file",
    ),
    Kind.SSL_EXPIRING: (
        "The certificate of shop.example on frankfurt-1 ends within 7 days",
        "It ends at 2026-03-08 12:00 UTC. DNS points to 203.0.113.9, which is no shield of this domain.",
    ),
    Kind.SSL_RENEWED: (
        "The certificate of shop.example on frankfurt-1 was renewed",
        "It is valid until 2026-05-30 12:00 UTC.",
    ),
    Kind.SSL_FAILED: ("No certificate for shop.example on frankfurt-1", "Port 80 of shop.example cannot be reached."),
    Kind.FAILOVER_TRIGGERED: ("shop.example answers with berlin-1", "frankfurt-1 is down."),
    Kind.FAILOVER_RECOVERED: ("shop.example answers with frankfurt-1 again", "frankfurt-1 served for 120 s."),
    Kind.ATTACK_DETECTED: (
        "shop.example is under attack",
        "Many more requests than usual: 5100 requests a second, usually 40. Seen by frankfurt-1. Every visitor has to "
        "pass the bot check meanwhile.",
    ),
    Kind.NEW_LOGIN: (
        "anna@shop.example signed in",
        "Address: 203.0.113.9\nBrowser: Firefox on Linux\n\n"
        "If this was not you, change your password; that ends all other sessions.",
    ),
    Kind.CHANNEL_DISABLED: (
        "The channel On call was switched off",
        "The receiver answered with status 500.\nWhat waited for it was given up. Switch it on again when it works.",
    ),
    Kind.TEST: ("This is a test", "anna@shop.example asked for it on the page of the channel On call."),
}


def sample(kind: Kind) -> Notification:
    """Return a notification of a kind that was never saved."""
    title, text = _TEXTS.get(kind, (kind.label, TRAITS[kind].about))
    row = Notification(kind=kind, title=title, text=text, is_urgent=TRAITS[kind].is_urgent)
    row.created_at = timezone.now()
    return row
