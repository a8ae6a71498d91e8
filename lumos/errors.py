"""Errors that people see; `problems` translates them into RFC 9457 problem details, once."""

from typing import ClassVar


class AppError(Exception):
    """A refusal with a message that says what to do. `retryable` tells whether the same request may pass later."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid"
    title: ClassVar[str] = "The request cannot be carried out"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(AppError):
    """The caller sent something that breaks a rule."""

    code = "validation"
    title = "Some fields are not valid"


class Forbidden(AppError):
    """The person may act here, but not like this."""

    status = 403
    code = "permission_denied"
    title = "Not allowed"


class Conflict(AppError):
    """The request contradicts what exists."""

    status = 409
    code = "conflict"
    title = "Conflict with what exists"


class Busy(AppError):
    """Too much is going on at the moment."""

    status = 503
    code = "busy"
    title = "Busy"
    retryable = True


class LimitReached(AppError):
    """A size or plan limit forbids more."""

    status = 409
    code = "limit"
    title = "Limit reached"


class PaymentRequired(AppError):
    """The account's balance is too small for that, or it is frozen."""

    status = 402
    code = "payment_required"
    title = "Credits are needed first"
