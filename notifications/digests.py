"""When an e-mail channel tells what is not urgent: at once, every full hour, or every morning (UTC)."""

from datetime import datetime, timedelta

from notifications.models import Channel, Digest

MORNING_HOUR = 7


def first_try(channel: Channel, now: datetime) -> datetime:
    """Return when something that is not urgent is told."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    if channel.digest == Digest.HOURLY:
        return hour + timedelta(hours=1)
    if channel.digest == Digest.DAILY:
        morning = hour.replace(hour=MORNING_HOUR)
        return morning if morning > now else morning + timedelta(days=1)
    return now
