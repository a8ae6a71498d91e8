"""The operator sees rows of all tenants and every mail; nobody else does."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator

from accounts.models import User
from notifications.kinds import Kind
from notifications.models import Channel
from notifications.outbox import record, route_due
from tests.factories import PASSWORD, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None, signed_in: Any) -> Any:
    """Return the operator's browser."""
    user = User.objects.create_superuser("operator@example.com", PASSWORD)
    Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    return signed_in(user)


@pytest.mark.parametrize("kind", Kind.values)
def test_mails_are_shown(operator: Any, kind: str) -> None:
    html = operator.get(f"/operator/notifications/notification/mails/{kind}/")
    assert html.status_code == 200
    assert "default-src 'none'" in html["Content-Security-Policy"]
    text = operator.get(f"/operator/notifications/notification/mails/{kind}/?as=text")
    assert text.content.decode().startswith("Subject: [Lumos] ")


def test_rows_are_shown_and_not_changed(operator: Any, alice: Tenant, signed_in: Any) -> None:
    with alice.scope:
        record(Kind.SERVER_DOWN, key="k", title="It is down", server=alice.server)
    route_due()
    channel = Channel.unscoped.get()
    for path in ("notification/", "channel/", "delivery/", f"channel/{channel.pk}/change/", "notification/mails/"):
        assert operator.get(f"/operator/notifications/{path}").status_code == 200, path
        assert signed_in(alice.owner).get(f"/operator/notifications/{path}").status_code in {302, 403}
    assert operator.post(f"/operator/notifications/channel/{channel.pk}/delete/").status_code == 403
    assert operator.get("/operator/notifications/channel/add/").status_code == 403
    assert operator.get("/operator/notifications/notification/mails/nonsense/").status_code == 404
