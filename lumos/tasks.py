"""Base of every tenant job."""

import uuid
from typing import Any

from celery import Task
from structlog.contextvars import bound_contextvars

from accounts.tenancy import tenant_scope


class TenantTask(Task):  # type: ignore[type-arg]
    """A job of one account: its first argument is the account's id, and it runs in that account's scope."""

    def __call__(self, account_id: str, *args: Any, **kwargs: Any) -> Any:
        """Run inside the scope."""
        with bound_contextvars(task=self.name), tenant_scope(uuid.UUID(account_id)):
            return super().__call__(account_id, *args, **kwargs)
