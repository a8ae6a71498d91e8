"""The socket of open pages: only of the session's account, and never any data."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from servers.routing import page_routes
from tests.factories import Tenant
from waf.lists import add_list_entry

pytestmark = pytest.mark.django_db(transaction=True)


def browser(session: str) -> WebsocketCommunicator:
    headers = [(b"cookie", f"lumos_session={session}".encode())]
    return WebsocketCommunicator(AuthMiddlewareStack(URLRouter(page_routes)), "/ws/pages", headers)


async def test_only_the_own_account_is_heard(alice: Tenant, mallory: Tenant, signed_in: Any) -> None:
    def session(tenant: Tenant) -> str:
        return str(signed_in(tenant.owner).cookies["lumos_session"].value)

    ours, theirs = browser(await sync_to_async(session)(alice)), browser(await sync_to_async(session)(mallory))
    assert (await ours.connect(timeout=20))[0]
    assert (await theirs.connect(timeout=20))[0]

    def change() -> None:
        with alice.scope:
            add_list_entry(domain=alice.domain, kind="deny", network="198.51.100.0/24", actor=alice.owner)

    await sync_to_async(change)()
    assert await ours.receive_json_from(timeout=20) == {"topic": "servers"}
    assert await theirs.receive_nothing(timeout=0.3)
    await ours.disconnect(timeout=20)
    await theirs.disconnect(timeout=20)


async def test_visitors_are_refused(db: None) -> None:
    accepted, code = await browser("nonsense").connect(timeout=20)
    assert not accepted
    assert code == 4401
