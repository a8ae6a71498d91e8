"""Each test has its own gateway, and leaves no database connection open in the threads that it used."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from servers import gateway


@pytest.fixture(autouse=True)
async def fresh_gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Replace the registry and the database threads of this process."""
    monkeypatch.setattr("servers.consumers.gateway", gateway.Gateway())
    with ThreadPoolExecutor(1) as thread:
        monkeypatch.setattr("servers.gateway._database_threads", thread)
        yield
        thread.submit(connections.close_all).result()
    await sync_to_async(connections.close_all)()
