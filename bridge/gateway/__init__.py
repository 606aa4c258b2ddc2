"""The gateway: what visitors' browsers and platforms' webhooks reach. The one place of the core that knows aiohttp."""

from bridge.gateway.admission import Limits
from bridge.gateway.files import FileStore
from bridge.gateway.server import Gateway, create_app

__all__ = ["FileStore", "Gateway", "Limits", "create_app"]
