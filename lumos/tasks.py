"""Base of every tenant job, and the job that looks at the others."""

import uuid
from typing import Any

from celery import Task, shared_task
from structlog.contextvars import bound_contextvars

from accounts.tenancy import tenant_scope
from lumos import jobs
from lumos.alerts import tell_operator


class TenantTask(Task):  # type: ignore[type-arg]
    """A job of one account: its first argument is the account's id, and it runs in that account's scope."""

    def __call__(self, account_id: str, *args: Any, **kwargs: Any) -> Any:
        """Run inside the scope."""
        with bound_contextvars(task=self.name), tenant_scope(uuid.UUID(account_id)):
            return super().__call__(account_id, *args, **kwargs)


@shared_task(base=jobs.Job)
def watch_jobs() -> dict[str, str]:
    """Report jobs in trouble. A beat that is gone cannot ask for this: gateways, readiness and metrics look as well."""
    tell_operator()
    return dict(jobs.reported_troubles())
