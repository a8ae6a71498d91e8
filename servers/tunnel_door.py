"""The doors of an origin's script: the script itself, which is public, and three requests with its token as Bearer.

A token decides whose rows are seen, so these are doors of the tenant wall (accounts/tenancy.py).
"""

import shlex
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from redis.exceptions import RedisError

from accounts.tenancy import tenant_scope
from lumos.errors import AppError
from lumos.limits import Limit, network, take
from servers import tunnel_origins
from servers.tunnel_models import Tunnel

TEXT = "text/plain; charset=utf-8"
TRIES, TRIES_SECONDS = 120, 60
_View = Callable[[HttpRequest, Tunnel, str], HttpResponse]


def _said(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(text, content_type=TEXT, status=status)


def _door(find: Callable[[str], Tunnel | None]) -> Callable[[_View], Callable[[HttpRequest], HttpResponse]]:
    """Guard a view by the tunnel that its token belongs to; refusals are a line of text for whoever runs the script."""

    def decorate(view: _View) -> Callable[[HttpRequest], HttpResponse]:
        @csrf_exempt
        @never_cache
        @wraps(view)
        def guarded(request: HttpRequest) -> HttpResponse:
            who = network(request.META["REMOTE_ADDR"])
            try:
                wait = take([Limit("tunnel", who, TRIES, TRIES_SECONDS)])
            except RedisError:
                wait = 0  # tokens of 256 bits need no count, and tunnels go on without Redis
            if wait:
                return _said(f"Too many requests; wait {wait} s.\n", 429)
            token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
            if (tunnel := find(token)) is None:
                return _said("This command was used, has expired or was replaced. Ask for another one.\n", 401)
            with tenant_scope(tunnel.account_id):
                try:
                    return view(request, tunnel, token)
                except AppError as error:
                    return _said(f"{error.detail}\n", error.status)

        return guarded

    return decorate


@never_cache
@require_safe
def script(request: HttpRequest) -> HttpResponse:
    """Answer with the script, for this dashboard."""
    return render(request, "servers/tunnel.sh", {"dashboard": shlex.quote(settings.PUBLIC_URL)}, content_type=TEXT)


@require_POST
@_door(tunnel_origins.tunnel_by_join_token)
def join(request: HttpRequest, tunnel: Tunnel, token: str) -> HttpResponse:
    """Take `public_key` and `token` of the machine that joins; answer with its configuration."""
    values = {name: request.POST.get(name, "") for name in ("public_key", "token")}
    joined = tunnel_origins.join(tunnel=tunnel, join_token=token, **values)
    return _said(tunnel_origins.fetch(joined))


@require_safe
@_door(tunnel_origins.tunnel_by_token)
def configuration(request: HttpRequest, tunnel: Tunnel, token: str) -> HttpResponse:
    """Answer with the configuration of now."""
    return _said(tunnel_origins.fetch(tunnel))


@require_POST
@_door(tunnel_origins.tunnel_by_token)
def new_key(request: HttpRequest, tunnel: Tunnel, token: str) -> HttpResponse:
    """Take the key that the origin is about to change to; answer `ready` when it may, `wait` before."""
    is_ready = tunnel_origins.offer_key(tunnel=tunnel, public_key=request.POST.get("public_key", ""))
    return _said("ready\n" if is_ready else "wait\n")
