"""Tokens with which agents prove which server they are: issue, rotate, look up."""

import hashlib
import secrets
import shlex
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import User
from servers import revisions
from servers.models import Server

PREFIX = "lmst_"


def token_hash(token: str) -> str:
    """Return the form in which a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> tuple[str, dict[str, str]]:
    """Return a token and the columns that remember it."""
    token = PREFIX + secrets.token_hex(32)
    return token, {"token_hash": token_hash(token), "token_prefix": token[:12]}


@transaction.atomic
def rotate_token(*, server: Server, actor: User) -> str:
    """Replace the token; the old one stops working at once and its connection is closed."""
    token, columns = new_token()
    Server.objects.filter(pk=server.pk).update(**columns)
    audit.record(actor, audit.Action.TOKEN_ROTATED, server)
    revisions.disconnect(server)
    return token


def server_by_token(token: str) -> Server | None:
    """Return the server that a token belongs to, of whatever account: this is what opens the scope."""
    if not token.startswith(PREFIX):
        return None
    server: Any = Server.unscoped.filter(token_hash=token_hash(token)).only("account_id").first()
    return server if isinstance(server, Server) else None


def install_line(token: str) -> str:
    """Return what the customer pastes on the VPS as root."""
    return f"curl -fsSL {shlex.quote(settings.PUBLIC_URL)}/install | LUMOS_TOKEN={token} sh"
