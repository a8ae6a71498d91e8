"""Errors of the agent; each says at what stage and what to do."""


class AgentError(Exception):
    """Something that a person can act on; printed without a traceback."""


class ApplyError(AgentError):
    """A configuration could not be applied. `stage` is one of `protocol.Failed.stage`."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class HaproxyError(AgentError):
    """HAProxy does not run, does not answer, or refused."""


class ConnectionLost(HaproxyError):
    """The other side ended before it had answered; it may have done what it was asked."""


class NotListening(HaproxyError):
    """Nobody accepts connections on a socket of HAProxy."""


class CertificateRefused(AgentError):
    """A certificate cannot be had now; the message is the status that people see."""

    def __init__(self, message: str, *, retry_seconds: float = 0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class NotReachable(CertificateRefused):
    """The pre-flight failed; no CA was asked, so it may be tried again soon."""
