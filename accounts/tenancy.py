"""The one place that decides whose rows a query may see.

Six doors open a scope: the HTTP middleware, API-key authentication, `TenantTask`, gateway messages, a payment
provider's signed messages and the token of an origin's script; the operator's admin opens one for what it does to an
account. A query outside a scope raises, so that a forgotten filter is an error and never another tenant's data. Joins
and annotations are not filtered by the manager: a child row carries its parent's account, and `save()` compares it with
the scope.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import models
from structlog.contextvars import bind_contextvars, unbind_contextvars

_active: ContextVar[uuid.UUID | None] = ContextVar("active_account", default=None)


class TenantScopeError(RuntimeError):
    """A tenant's rows were touched outside the tenant's scope: a bug, never a user's mistake."""


def active_account_id() -> uuid.UUID:
    """Return the id of the account in scope.

    Raises:
        TenantScopeError: no scope is open.
    """
    if (account_id := _active.get()) is None:
        raise TenantScopeError("no tenant_scope() is open")
    return account_id


def enter(account_id: uuid.UUID) -> None:
    """Open a scope that an outer `restored` closes; for API-key authentication deep inside a request."""
    bind_contextvars(account_id=str(account_id))
    _active.set(account_id)


@contextmanager
def restored() -> Iterator[None]:
    """Put the present scope back at the end, whatever was entered inside.

    Values and not `Token`s are kept: under ASGI the inside may run in a copy of this context.
    """
    before = _active.get()
    try:
        yield
    finally:
        _active.set(before)
        if before is None:
            unbind_contextvars("account_id")
        else:
            bind_contextvars(account_id=str(before))


@contextmanager
def tenant_scope(account_id: uuid.UUID) -> Iterator[None]:
    """Limit every tenant query inside to one account."""
    with restored():
        enter(account_id)
        yield


class TenantManager(models.Manager[Any]):
    """Rows of the account in scope only."""

    def get_queryset(self) -> models.QuerySet[Any]:
        if (account_id := _active.get()) is None:
            raise TenantScopeError(f"{self.model.__name__} queried outside tenant_scope()")
        return super().get_queryset().filter(account_id=account_id)


class TenantModel(models.Model):
    """Base of every row that belongs to an account. `unscoped` is for reviewed code that serves all tenants."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, editable=False, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager()
    unscoped: models.Manager[Any] = models.Manager()

    class Meta:
        abstract = True
        base_manager_name = "unscoped"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save a row of the account in scope whose parents belong to the same account."""
        scope = active_account_id()
        self.account_id = self.account_id or scope
        if self.account_id != scope:
            raise TenantScopeError(f"{type(self).__name__} of another account saved")
        for field in self._meta.concrete_fields:
            if isinstance(field, models.ForeignKey) and field.is_cached(self):
                parent = getattr(self, field.name)
                if isinstance(parent, TenantModel) and parent.account_id != scope:
                    raise TenantScopeError(f"{type(self).__name__}.{field.name} belongs to another account")
        super().save(*args, **kwargs)
