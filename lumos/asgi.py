"""The one ASGI application. LUMOS_ROLE says which routes a process serves, so that a deploy of the dashboard never
disconnects an agent."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lumos.settings.base")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from servers.routing import agent_routes, page_routes  # noqa: E402

websocket = (
    URLRouter(agent_routes)
    if settings.LUMOS_ROLE == "gateway"
    else AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(page_routes)))
)
application = ProtocolTypeRouter({"http": django_application, "websocket": websocket})
