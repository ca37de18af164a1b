"""`NexusIntegration`: the MCP server of a Nexus app, and its life."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from kailash_mcp_prod.auth.chain import AuthProvider
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ServerError, StartupError, UnavailableError
from kailash_mcp_prod.nexus.auth import NexusAuth, NexusProvider
from kailash_mcp_prod.nexus.openapi import with_mcp
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.nexus.server import ModellessServer, MountedServer
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS

# Not key-value lines: who uses a library may show messages alone.
_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What an app was enhanced with."""

    config: ServerConfig
    models: Any
    prefix: str
    auth: str | NexusAuth | AuthProvider
    expose_workflows: bool | tuple[str, ...]


class _Run:
    """One life of the server, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: MountedServer) -> None:
        self.loop = loop
        self.server = server
        self.starting: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None
        self.failed_at = 0.0
        self.stopping = False
        self.ending: asyncio.Task[None] | None = None


class NexusIntegration:
    """The MCP server of a Nexus app. It starts and stops with the app, or with the first request.

    Args:
        platform: The app.
        settings: What it was enhanced with.
        dataflow: The models, loaded; `None` for none.

    Example:
        ```python
        async with enhance_nexus_with_mcp(app) as integration:
            await integration.server.mcp_server.call_tool("get_nexus_workflows")
        ```
    """

    def __init__(self, platform: NexusPlatform, settings: Settings, dataflow: Any) -> None:
        self.settings = settings
        self._platform = platform
        self._dataflow = dataflow
        self._lock = threading.Lock()
        self._run: _Run | None = None
        # What is wrong with the settings is said at once.
        self._schemas = self._make_server().workflow_schemas()

    @property
    def prefix(self) -> str:
        """The path below which everything is."""
        return self.settings.prefix

    def described(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The app's OpenAPI document with what is served below the prefix."""
        return with_mcp(document, self.prefix, self._schemas, asks=self._asks)

    @property
    def failure(self) -> BaseException | None:
        """Why the server could not be started, if it could not."""
        return None if self._run is None else self._run.failure

    @property
    def server(self) -> MountedServer:
        """The server that runs.

        Raises:
            StartupError: None does.
        """
        run = self._run
        if run is None or run.failure is not None or run.starting is None:
            raise StartupError("The Nexus app does not serve MCP yet: start it first.")
        return run.server

    async def running(self) -> MountedServer:
        """The server on this event loop, started if it was not.

        Raises:
            UnavailableError: It can't be.
        """
        loop = asyncio.get_running_loop()
        run = self._run
        if run is None or run.loop is not loop or run.failure is not None:
            run = self._begin(loop)
        if run.stopping:
            raise UnavailableError("The server is shutting down.")
        assert run.starting is not None  # noqa: S101 - set by _begin
        if not run.starting.done():
            await asyncio.shield(run.starting)
        if run.failure is not None:
            raise UnavailableError(
                "The MCP part of this app could not be started; its log says why.",
                retry_after_seconds=_RETRY_SECONDS,
            )
        return run.server

    async def start(self) -> None:
        """Starts the server. What goes wrong is logged and kept: see `failure`."""
        with self._lock:
            if self._run is not None and self._run.stopping:
                self._run = None
        try:
            await self.running()
        except UnavailableError:
            # Nexus takes no notice of what fails at its start, so each request will tell.
            return

    async def stop(self) -> None:
        """Stops the server; until `start` is called, requests on this loop are answered by 503."""
        run = self._run
        if run is None or run.loop is not asyncio.get_running_loop():
            return
        run.stopping = True
        if run.starting is not None:
            await asyncio.wait({run.starting})
        if run.ending is not None:
            await asyncio.wait({run.ending})
        if run.failure is None:
            await run.server.stop()

    def begin_stop(self) -> None:
        """Ends open streams and refuses new requests."""
        run = self._run
        if run is None or run.stopping or run.starting is None or not run.starting.done():
            return
        run.stopping = True
        if run.failure is None:
            run.ending = run.loop.create_task(run.server.end_requests())

    async def __aenter__(self) -> Self:
        await self.start()
        if self.failure is not None:
            raise self.failure
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> _Run:
        with self._lock:
            run = self._run
            if run is not None and run.loop is loop:
                soon = time.monotonic() - run.failed_at < _RETRY_SECONDS
                if run.failure is None or soon or run.stopping:
                    return run
            elif run is not None and run.loop.is_running() and not run.stopping:
                raise UnavailableError("The app is served on another event loop already.")
            run = self._run = _Run(loop, self._make_server())
            # In a context of its own: what runs from now on belongs to no request.
            starting = self._start(run)
            run.starting = loop.create_task(
                starting, name="nexus-mcp-start", context=contextvars.Context()
            )
            return run

    async def _start(self, run: _Run) -> None:
        try:
            await run.server.start()
        except (StartupError, ServerError) as failure:
            _log.error("MCP at %s of the Nexus app could not be started: %s", self.prefix, failure)
            run.failure, run.failed_at = failure, time.monotonic()
        except Exception as defect:  # noqa: BLE001 - kept, and told to each request
            _log.exception("MCP at %s of the Nexus app could not be started", self.prefix)
            run.failure, run.failed_at = defect, time.monotonic()
        self._warn()

    def _warn(self) -> None:
        port = self._platform.own_mcp_port
        if port is not None:
            _log.warning(
                "Nexus's own MCP server listens on 0.0.0.0:%s. It asks nobody for a credential and "
                "runs every workflow. Close that port, or serve the app by `kailash-mcp-prod serve "
                "--mode nexus-integration`, which does not open it.",
                port,
            )

    def _make_server(self) -> MountedServer:
        settings, platform = self.settings, self._platform
        config = settings.config
        providers: Sequence[AuthProvider] = ()
        if settings.auth != "own":
            config = config.model_copy(update={"enable_auth": True, "auth_type": ("custom",)})
            rules = settings.auth if isinstance(settings.auth, NexusAuth) else NexusAuth()
            if isinstance(settings.auth, str | NexusAuth):
                providers = [NexusProvider(platform, rules, insecure=config.insecure)]
            else:
                providers = [settings.auth]
        kind = ModellessServer if self._dataflow is None else MountedServer
        return kind(
            platform,
            config.model_copy(update={"transport": "all"}),
            prefix=settings.prefix,
            hosts=self._hosts(),
            origins={*LOOPBACK_ORIGINS, *config.allowed_origins, *platform.allowed_origins},
            dataflow=self._dataflow,
            auth_providers=providers,
            expose=settings.expose_workflows,
            # Whether it asks anybody at all is the app's matter, and found out for each request.
            always_asks=not isinstance(settings.auth, str | NexusAuth) or settings.auth == "own",
        )

    @property
    def _asks(self) -> bool:
        """Whether callers need a credential, as far as that is known."""
        auth = self.settings.auth
        if isinstance(auth, str | NexusAuth):
            return self.settings.config.enable_auth if auth == "own" else self._platform.has_auth
        return True

    def _hosts(self) -> Collection[str]:
        config = self.settings.config
        asks = self._platform.has_auth if self.settings.auth != "own" else config.enable_auth
        if asks and not config.allowed_hosts:
            # A page that gets here under another name has no credential to show.
            return {"*"}
        return {*LOOPBACK_HOSTS, config.host, *config.allowed_hosts}
