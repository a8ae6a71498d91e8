"""How channels tell: one module per kind of channel, each with `send(channel, notifications)`."""

from dataclasses import dataclass

KEPT_CHARACTERS = 4_000


def kept(text: str) -> str:
    """Return the part of a request or answer that the log keeps."""
    text = text.replace("\0", "")
    return text if len(text) <= KEPT_CHARACTERS else text[: KEPT_CHARACTERS - 1] + "…"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was sent and what came back, for the log."""

    request: str
    response: str = ""
    status: int | None = None


class SendError(Exception):
    """A channel could not be told.

    `is_permanent`: trying this delivery again is of no use. `is_gone`: the receiver wants nothing any more.
    `retry_seconds`: how long the receiver asked to be left alone.
    """

    def __init__(
        self,
        detail: str,
        *,
        sent: Sent | None = None,
        is_permanent: bool = False,
        is_gone: bool = False,
        retry_seconds: float = 0.0,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.sent = sent or Sent(request="")
        self.is_permanent = is_permanent
        self.is_gone = is_gone
        self.retry_seconds = retry_seconds
