"""A domain that is removed while a shield's counts for it arrive."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection

from domains.models import Domain
from domains.services import remove_domain
from lumos_agent import protocol
from servers import metrics
from servers.models import HourlyMetric
from tests import factories
from tests.agent.builders import ident

LOCKED_SECONDS = 1.0


class Meanwhile:
    """Runs `work` on another connection right before the domain's own row is deleted."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.errors: list[DatabaseError] = []
        self._work = work
        self.thread = threading.Thread(target=self._run)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith('DELETE FROM "domains_domain" '):
            self.thread.start()
            self.thread.join(LOCKED_SECONDS)  # without a lock it is done by then
        return execute(sql, params, many, context)

    def _run(self) -> None:
        try:
            self._work()
        except DatabaseError as error:
            self.errors.append(error)
        finally:
            connection.close()


@pytest.mark.django_db(transaction=True)
def test_counts_that_arrive_meanwhile_break_nothing() -> None:
    alice = factories.tenant("alice", "alice.example")
    traffic = protocol.Traffic(domain_id=str(alice.domain.pk), hour=int(time.time()), requests=1)
    batch = protocol.Batch(boot_id=ident(5), seq=1, at=time.time(), traffic=(traffic,))

    def ingest() -> bool:
        with alice.scope:
            return metrics.ingest(server_id=alice.server.pk, batch=batch)

    meanwhile = Meanwhile(ingest)
    with alice.scope, connection.execute_wrapper(meanwhile):
        remove_domain(domain=alice.domain, actor=alice.owner)
    meanwhile.thread.join()
    with alice.scope:
        assert not Domain.objects.exists()
        if meanwhile.errors:  # the agent sends it again
            assert ingest()
        assert not HourlyMetric.objects.exists()
