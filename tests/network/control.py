"""The control plane on a host: its pages over HTTP, and what a gateway does for the shields' tunnels."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, get_internal_wsgi_application
from django.db import connection
from django.db.models import F
from django.test.testcases import QuietWSGIRequestHandler
from django.utils import timezone

from accounts.tenancy import tenant_scope
from servers import tunnel_ends
from servers.models import ApplyState, Server
from servers.snapshots import snapshot_of
from tests.network.hosts import Host
from tests.network.shield import Shield

SECONDS = 90.0


def eventually(happened: Callable[[], Any], what: str) -> Any:
    """Wait for something that comes by itself; returns it."""
    deadline = time.monotonic() + SECONDS
    while not (found := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


class Gateway:
    """Delivers snapshots and takes reports, in a thread, for shields that run the tunnels' part of an agent."""

    def __init__(self, account_id: Any, shields: dict[Any, Shield]) -> None:
        self._account_id, self._shields = account_id, shields
        self._delivered: dict[Any, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failures: list[BaseException] = []

    def __enter__(self) -> "Gateway":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert not self.failures, self.failures

    def _run(self) -> None:
        try:
            while not self._over.wait(0.05):
                with tenant_scope(self._account_id):
                    for pk, shield in self._shields.items():
                        self._deliver(pk, shield)
                        while not shield.reports.empty():
                            tunnel_ends.record_report(server_id=pk, report=shield.reports.get())
        except BaseException as error:
            self.failures.append(error)
        finally:
            connection.close()

    def _deliver(self, pk: Any, shield: Shield) -> None:
        server = Server.objects.get(pk=pk)
        if self._delivered.get(pk) == server.revision:
            return
        answer = shield.apply(snapshot_of(server))
        assert "applied" in answer, answer
        self._delivered[pk] = server.revision
        lease = timezone.now() + timedelta(hours=1)
        Server.objects.filter(pk=pk).update(lease_until=lease)
        rows = Server.objects.filter(pk=pk, revision=server.revision)
        rows.update(apply_state=ApplyState.APPLIED, applied_revision=F("revision"))


@contextmanager
def pages(host: Host, port: int = 80) -> Iterator[None]:
    """Serve the dashboard and its doors on a host's first address."""
    address = (host.address, port)
    server = host.inside(lambda: ThreadedWSGIServer(address, QuietWSGIRequestHandler, allow_reuse_address=False))
    server.set_app(get_internal_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
