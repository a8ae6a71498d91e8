"""What a VPS fetches to become a shield: the install script and the agent's wheel. Public; nothing in it is secret."""

import hashlib
import shlex
from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from lumos_agent import __version__

WHEEL = f"lumos_agent-{__version__}-py3-none-any.whl"
TEXT = "text/plain; charset=utf-8"


def _wheel() -> bytes | None:
    """Return the wheel, or None when it was not built."""
    try:
        return (Path(settings.WHEEL_DIR) / WHEEL).read_bytes()
    except FileNotFoundError:
        return None


def offered() -> tuple[str, str] | None:
    """Return version and SHA-256 of the wheel that is served, or None when it was not built."""
    wheel = _wheel()
    return None if wheel is None else (__version__, hashlib.sha256(wheel).hexdigest())


def _not_built() -> HttpResponse:
    text = f"This Lumos has no {WHEEL} to install yet. Its operator builds it with `make wheel`.\n"
    return HttpResponse(text, content_type=TEXT, status=503)


@never_cache
@require_safe
def script(request: HttpRequest) -> HttpResponse:
    """Answer with the shell script, for this dashboard and this wheel."""
    wheel = _wheel()
    if wheel is None:
        return _not_built()
    values = {
        "dashboard": settings.PUBLIC_URL,
        "gateway": settings.GATEWAY_URL,
        "wheel": WHEEL,
        "sha256": hashlib.sha256(wheel).hexdigest(),
    }
    context = {name: shlex.quote(value) for name, value in values.items()}
    return render(request, "servers/install.sh", context, content_type=TEXT)


@never_cache
@require_safe
def wheel_file(request: HttpRequest, name: str) -> HttpResponse:
    """Answer with the wheel that the script names."""
    if name != WHEEL:
        raise Http404(f"the wheel is {WHEEL}")
    wheel = _wheel()
    return _not_built() if wheel is None else HttpResponse(wheel, content_type="application/zip")
