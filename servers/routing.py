"""WebSocket routes: agents on the gateway, pages on the web role."""

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import re_path

from servers.consumers import AgentConsumer, PageConsumer


class Unknown(AsyncWebsocketConsumer):
    """Refuses paths that do not exist, instead of failing inside the router."""

    async def connect(self) -> None:
        """Refuse."""
        await self.close()


agent_routes = [re_path(r"^agent/v1$", AgentConsumer.as_asgi()), re_path(r"", Unknown.as_asgi())]
page_routes = [re_path(r"^ws/pages$", PageConsumer.as_asgi()), re_path(r"", Unknown.as_asgi())]
