"""The DataFlow application behind the tools: loaded, prepared, watched and closed."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    DatabaseStartupError,
    ModelError,
    ServerError,
    StartupError,
)
from kailash_mcp_prod.models_loader import load_dataflow, load_sample_rows
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.introspect import describe_model
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.prepare import prepare_database, prepare_models
from kailash_mcp_prod.records.query import EVERYTHING
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.registry import ToolRegistry

log = get_logger(__name__)

_WATCH_SECONDS = 1.0
_PING_SECONDS = 2.0
_PING_CACHE_SECONDS = 1.0


class DataFlowApplication:
    """Keeps the registry's record tools in step with a DataFlow instance.

    Args:
        config: Which instance, which database, which operations.
        registry: Gets the tools.
        dataflow: The instance itself, instead of the one that the configuration names.
        discovery: Makes the tools of a model.
    """

    def __init__(
        self,
        config: ServerConfig,
        registry: ToolRegistry,
        *,
        dataflow: Any,
        discovery: type[DataFlowToolDiscovery],
    ) -> None:
        self._config = config
        self._registry = registry
        self._db = dataflow
        self._discovery_class = discovery
        self._discovery: DataFlowToolDiscovery | None = None
        self._store: NodeStore | None = None
        self._models: dict[str, Model] = {}
        self._loads_by_name = dataflow is None
        self._refused: dict[str, str] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked_at = -math.inf
        self._answered = False

    async def start(self) -> None:
        """Loads the models, prepares the database and makes the tools.

        Raises:
            StartupError: Something of that can't be done.
        """
        self._changing = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked_at = -math.inf
        if self._db is None:
            # In a thread, because DataFlow takes seconds to import and a stdio client is waiting.
            self._db = await asyncio.to_thread(
                load_dataflow, self._config.models, self._config.database_url
            )
        self._store = NodeStore(DataFlowSession(self._db))
        models = await prepare_database(self._db)
        if not await self._database_answers():
            # DataFlow reports success even where it could not open a SQLite file.
            raise DatabaseStartupError(
                "The database can't be opened. Check DATABASE_URL and that the database is up."
            )
        self._discovery = self._discovery_class(self._store, self._config.operations)
        if self._config.mode == "development" and self._loads_by_name:
            await self._load_sample_rows(models)
        self._add(models)
        self._watcher = asyncio.create_task(self._watch(), name="model-watcher")

    async def stop(self) -> None:
        """Stops watching and closes the database's connections."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
            self._watcher = None
        if self._store is not None:
            await self._store.close()
            self._store = None
        self._asked_at = -math.inf
        self._asked_at = -math.inf

    async def register(self, model_class: type) -> None:
        """Registers a model class with DataFlow and serves it.

        Raises:
            StartupError: It can't be served.
        """
        if self._db is None or self._discovery is None:
            raise StartupError("Start the server before you register models.")
        name = model_class.__name__
        registered = self._db.get_models().get(name)
        if registered is None:
            try:
                self._db.model(model_class)
            except Exception as refusal:
                raise ModelError(
                    f"Model {name}: DataFlow refuses it ({type(refusal).__name__})."
                ) from refusal
        elif registered is not model_class:
            raise ModelError(f"Model {name}: another model has this name already.")
        await self._serve_model(name)

    async def health(self) -> dict[str, Any]:
        """The state of the server and of its database."""
        database = "healthy" if await self._database_answers() else "unhealthy"
        return {
            "health_status": database,
            "components": {
                "server": {"status": "healthy", "tools": len(self._registry)},
                "database": {"status": database},
            },
        }

    async def _database_answers(self) -> bool:
        """Whether the database answers, as seen within the last second."""
        async with self._asking:
            now = time.monotonic()
            if now - self._asked_at >= _PING_CACHE_SECONDS:
                self._answered = await self._ask_database()
                self._asked_at = now
            return self._answered

    async def _ask_database(self) -> bool:
        if self._store is None:
            return False
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._store.ping()
        except (ServerError, TimeoutError):
            return False
        return True

    async def _watch(self) -> None:
        """Notices models that the application registers by itself while the server runs."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for name in self._db.list_models():
                if name not in self._models:
                    await self._try_model(name)

    async def _try_model(self, name: str) -> None:
        """Serves a model if that can be done now; says once why not."""
        try:
            await self._serve_model(name)
        except StartupError as refusal:
            reason = str(refusal)
        except Exception:
            # Whatever is wrong with one model, the next ones are still noticed.
            reason = "It can't be described; this is a defect."
            if self._refused.get(name) != reason:
                log.exception("model_broke", model=name)
        else:
            self._refused.pop(name, None)
            return
        if self._refused.get(name) != reason:
            self._refused[name] = reason
            log.warning("model_refused", model=name, reason=reason)

    async def _serve_model(self, name: str) -> None:
        async with self._changing:
            if name in self._models:
                return
            model = describe_model(self._db, name)
            await prepare_models(self._db, [model])
            self._add((model,))
            log.info("model_added", model=name)

    def _add(self, models: tuple[Model, ...]) -> None:
        assert self._discovery is not None  # noqa: S101 - set by start, before any caller
        tools = [tool for model in models for tool in self._discovery.tools_of(model)]
        self._models.update((model.name, model) for model in models)
        self._registry.add(tools)

    async def _load_sample_rows(self, models: tuple[Model, ...]) -> None:
        """Fills empty tables with the application's sample rows, through its own record tools."""
        assert self._store is not None  # noqa: S101 - set by start
        known = {model.name: model for model in models}
        for name, rows in load_sample_rows(self._config.models).items():
            model = known.get(name)
            if model is None or not rows or await self._store.count(model, EVERYTHING):
                continue
            try:
                await RecordOperation(self._store, model, Operation.BULK_CREATE)(
                    {"data": list(rows)}
                )
            except ServerError as refused:
                raise DatabaseStartupError(
                    f"The sample rows of {name} can't be stored: {refused.message}"
                ) from None
