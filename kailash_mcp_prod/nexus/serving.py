"""Serves a Nexus app well: one port, quiet, and stopped when it is told to."""

from __future__ import annotations

import asyncio
from typing import Any

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_values import is_loopback
from kailash_mcp_prod.errors import ConfigError, StartupError
from kailash_mcp_prod.models_loader import load_nexus
from kailash_mcp_prod.nexus.enhancing import enhance_nexus_with_mcp, integration_of
from kailash_mcp_prod.nexus.integration import NexusIntegration
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.observe.logs import tame
from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
from kailash_mcp_prod.transports.listening import Listener


class NexusServing:
    """A Nexus app on the port of the settings.

    An app that has enhanced itself stays as it is; of the settings, those of the port and of the
    log count then.

    Args:
        config: The settings.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._app: Any = None
        self._listener: Listener | None = None
        self._integration: NexusIntegration | None = None

    @property
    def urls(self) -> dict[str, str]:
        """Where what is served."""
        assert self._listener is not None  # noqa: S101 - after start
        assert self._integration is not None  # noqa: S101
        base = self._listener.url
        prefix = self._integration.prefix
        return {
            "Nexus": base,
            "MCP": f"{base}{prefix}",
            "WS": f"{base.replace('http', 'ws', 1)}{prefix}/ws",
        }

    async def start(self) -> None:
        """Loads the app and serves it.

        Raises:
            StartupError: That can't be done; the message says what to change.
        """
        config = self._config
        # In a thread, because Nexus takes seconds to import, and a signal may come meanwhile.
        app = self._app = await asyncio.to_thread(load_nexus, config.nexus)
        # Nexus has set up the logging of the whole process.
        tame()
        integration = self._integration = integration_of(app) or enhance_nexus_with_mcp(
            app,
            config=config,
            models=config.models if "models" in config.model_fields_set else None,
            auth=config.nexus_auth,
        )
        platform = NexusPlatform(app)
        if not (platform.has_auth or is_loopback(config.host) or config.insecure):
            raise ConfigError(
                f"The Nexus app asks for no credentials, so it is only served on loopback, not on "
                f"{config.host}. Turn its authentication on (enable_auth, or NexusAuthPlugin), or "
                "say --insecure if everybody on the network may do everything."
            )
        # Binds nothing: neither the app's own port nor that of its own MCP server.
        app.start(blocking=False)
        tame()
        listener = self._listener = Listener(
            platform.fastapi_app,
            config.host,
            config.port,
            max_message_bytes=config.max_body_bytes,
            connections=ConnectionLimit(config.max_connections),
            keep_alive_seconds=config.keep_alive_seconds,
            with_lifespan=True,
            grace_seconds=config.drain_seconds,
        )
        await listener.start()
        if integration.failure is not None:
            failure = integration.failure
            raise failure if isinstance(failure, StartupError) else StartupError(str(failure))

    async def drain(self) -> None:
        """Refuses new calls of tools and lets running ones finish."""
        if self._integration is not None and self._integration.failure is None:
            await self._integration.server.drain()

    def hurry(self) -> None:
        """Waits no longer for the requests of others to the app."""
        if self._listener is not None:
            self._listener.hurry()

    async def stop(self) -> None:
        """Ends streams, stops listening, and closes the app."""
        integration, listener, app = self._integration, self._listener, self._app
        if integration is not None:
            integration.begin_stop()
        if listener is not None:
            await listener.stop()
        if integration is not None:
            await integration.stop()
        if app is not None:
            await asyncio.to_thread(app.stop)
