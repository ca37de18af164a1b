"""The DataFlow application behind the tools: loaded, prepared, watched and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    DatabaseStartupError,
    InvalidArgumentsError,
    ModelError,
    StartupError,
)
from kailash_mcp_prod.models_loader import absolute_sqlite_url
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.cursors import CursorSigner
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.models_info import models_info_tool
from kailash_mcp_prod.tools.pools import pool_settings
from kailash_mcp_prod.tools.pulse import Pulse
from kailash_mcp_prod.tools.readiness import not_ready
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.scopes import Scopes, check_rules
from kailash_mcp_prod.tools.spec import ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.records.sql.database import Database, PoolSettings, PoolUsage
    from kailash_mcp_prod.records.sql.store import SqlStore
    from kailash_mcp_prod.records.store import RecordStore
    from kailash_mcp_prod.records.stores import ModelStores
    from kailash_mcp_prod.tools.caching import CachedReads
    from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
    from kailash_mcp_prod.tools.idempotency import KeyedWrites
    from kailash_mcp_prod.tools.instant import InstantModels
    from kailash_mcp_prod.tools.manifests import Manifests

log = get_logger(__name__)

_WATCH_SECONDS = 1.0


class DataFlowApplication:
    """Keeps the registry's record tools in step with a DataFlow instance.

    Args:
        config: Which instance, which database, which operations.
        registry: Gets the tools.
        policy: Says which models a principal may know of.
        dataflow: The instance itself, instead of the one that the configuration names.
        discovery: Makes the tools of a model; by default `DataFlowToolDiscovery`.
        reads: The cache of reads, which hears of all writes; `None` where there is none.

    Over stdio, a manifest of an earlier start takes the place of the instance while it holds. The
    instance is then only loaded to register a further model.
    """

    def __init__(
        self,
        config: ServerConfig,
        registry: ToolRegistry,
        policy: Policy,
        *,
        dataflow: Any,
        discovery: type[DataFlowToolDiscovery] | None,
        reads: CachedReads | None = None,
    ) -> None:
        self._config = config
        self._registry = registry
        self._policy = policy
        self._db = dataflow
        self._url = config.database_url and absolute_sqlite_url(config.database_url)
        self._discovery_class = discovery
        self._reads = reads
        self._cursors = CursorSigner(config.run_key)
        self._keyed: KeyedWrites | None = None
        self._scopes = Scopes(policy)
        self._discoveries: dict[RecordStore, DataFlowToolDiscovery] = {}
        self._stores: ModelStores | None = None
        self._instant: InstantModels | None = None
        self._manifests: Manifests | None = None
        self._models: dict[str, Model] = {}
        self._loads_by_name = dataflow is None
        self.wrap_database: Callable[[Database], Database] | None = None
        self._refused: dict[str, str] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._pulse = Pulse(lambda: self._stores or self._instant)

    async def start(self) -> None:
        """Loads the models, prepares the database and makes the tools.

        Raises:
            StartupError: Something of that can't be done.
        """
        self._changing = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._pulse.forget()
        self._manifests = await self._own_manifests()
        if not await self._start_instantly():
            await self._start_loaded()

    async def _own_manifests(self) -> Manifests | None:
        """Where this application's manifest is; `None` if it can't be described by one."""
        loaded_by_name = self._loads_by_name and self._db is None
        if not (self._config.instant_start and loaded_by_name and self._discovery_class is None):
            return None
        from kailash_mcp_prod.tools.manifests import Manifests

        try:
            return Manifests(self._config)
        except OSError:
            # There is no working directory; whether that matters, the import shows.
            return None

    def _pool(self) -> PoolSettings:
        return replace(pool_settings(self._config), wrap=self.wrap_database)

    async def _start_instantly(self) -> bool:
        """Serves what the manifest says, if there is one that holds."""
        if self._manifests is None or self._config.transport != "stdio":
            return False
        if self._reads is not None and self._config.redis_url is not None:
            # Other replicas cache too, and have to hear of the writes of this one.
            return False
        found = await self._manifests.read()
        if found is None:
            return False
        from kailash_mcp_prod.tools.instant import InstantModels

        manifest, url = found
        try:
            instant = InstantModels(
                manifest,
                url,
                self._pool(),
                self._cursors,
                self._scopes,
                make_keyed=lambda: self._keyed_writes(url),
            )
        except ValueError:
            log.warning("manifest_ignored", reason="A default is not of its field's type.")
            return False
        check_rules(self._policy, instant.models)
        self._url = url
        self._instant = instant
        self._models.update((model.name, model) for model in instant.models)
        self._registry.add([*instant.tools(), self._models_info()])
        return True

    async def _start_loaded(self) -> None:
        """Loads the models, prepares the database and makes the tools."""
        from kailash_mcp_prod.models_loader import load_dataflow
        from kailash_mcp_prod.records.migration_lock import migration_lock
        from kailash_mcp_prod.records.prepare import prepare_database
        from kailash_mcp_prod.records.stores import ModelStores

        config = self._config
        if self._db is None:
            # In a thread, because DataFlow takes seconds to import and a stdio client is waiting.
            self._db = await asyncio.to_thread(load_dataflow, config.models, config.database_url)
        self._url = str(self._db.config.database.url)
        prepared = await prepare_database(
            self._db, auto_migrate=config.auto_migrate, wait_seconds=config.wait_for_db
        )
        stores = self._stores = ModelStores(
            self._db,
            config.execution,
            self._pool(),
            self._reads.cache.changes if self._reads is not None else None,
        )
        if not await self._pulse.answers():
            # DataFlow reports success even where it could not open a SQLite file.
            raise DatabaseStartupError(
                "The database can't be opened. Check DATABASE_URL and that the database is up."
            )
        check_rules(self._policy, prepared.models)
        store_of = {
            model.name: stores.add(model, prepared.tables[model.name]) for model in prepared.models
        }
        url = self._url
        sampled: frozenset[str] = frozenset()
        if config.mode == "development" and self._loads_by_name:
            # Of several processes that start at once, one finds the tables empty.
            from kailash_mcp_prod.tools.sample_rows import load_sample_rows_of

            async with migration_lock(url):
                sampled = await load_sample_rows_of(config.models, prepared.models, store_of)
        tools = {model.name: self._tools(store_of[model.name], model) for model in prepared.models}
        self._models.update((model.name, model) for model in prepared.models)
        if self._reads is not None:
            await self._reads.learn(url, self._models.values())
        self._registry.add([*chain.from_iterable(tools.values()), self._models_info()])
        if self._manifests is not None:
            from kailash_mcp_prod.tools.manifests import Served

            served = [
                Served(each, prepared.tables[each.name], stores.execution(each.name), made)
                for each, made in zip(prepared.models, tools.values(), strict=True)
            ]
            await self._manifests.write(served, sampled, url)
        self._watcher = asyncio.create_task(self._watch(), name="model-watcher")

    async def describe(self) -> None:
        """Makes the tools of the models without their database; none of them can be called.

        Raises:
            StartupError: The models can't be loaded, or a rule does not fit them.
        """
        from kailash_mcp_prod.models_loader import load_dataflow
        from kailash_mcp_prod.records.dataflow_session import DataFlowSession
        from kailash_mcp_prod.records.introspect import describe_models
        from kailash_mcp_prod.records.node_store import NodeStore

        config = self._config
        if self._db is None:
            self._db = await asyncio.to_thread(load_dataflow, config.models, config.database_url)
        models = describe_models(self._db)
        check_rules(self._policy, models)
        store = NodeStore(DataFlowSession(self._db))
        self._models.update((model.name, model) for model in models)
        self._registry.add(tool for model in models for tool in self._tools(store, model))

    async def stop(self) -> None:
        """Stops watching and closes the database's connections."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
            self._watcher = None
        if self._stores is not None:
            await self._stores.close()
            self._stores = None
        if self._instant is not None:
            await self._instant.close()
            self._instant = None
        if self._reads is not None:
            await self._reads.stop()
        self._discoveries.clear()
        self._keyed = None
        self._pulse.forget()

    async def register(self, model_class: type) -> None:
        """Registers a model class with DataFlow and serves it.

        Raises:
            StartupError: It can't be served.
        """
        if self._stores is None:
            if self._instant is None:
                raise StartupError("Start the server before you register models.")
            async with self._loading:
                if self._stores is None:
                    await self._start_loaded()
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

    def models(self) -> tuple[Model, ...]:
        """The models that are served now, in the order in which they came."""
        return tuple(self._models.values())

    @property
    def database_url(self) -> str | None:
        """The address of the application's database, once it is known."""
        return self._url

    async def own_store(self) -> SqlStore:
        """The store in whose transactions tables of the server's own can be written.

        Raises:
            UnavailableError: The server is still starting, or stops.
        """
        if self._stores is not None:
            return self._stores.sql
        if self._instant is not None:
            return await self._instant.store()
        raise not_ready()

    async def shared_store(self, models: Collection[str]) -> tuple[RecordStore, KeyedWrites]:
        """The one store in which the records of all these models are, and its keyed writes.

        Raises:
            InvalidArgumentsError: One of them is not in it; `details` names the model.
            UnavailableError: The server is still starting, or stops.
        """
        stores = self._stores or self._instant
        for name in models:
            known = name in self._models and stores is not None
            if known and stores is not None and stores.execution(name).store != "sql":
                raise InvalidArgumentsError(
                    f"{name} is reached through DataFlow's nodes, and its records can't share a "
                    "transaction with others.",
                    details={"model": name},
                )
        if self._stores is not None:
            url = str(self._db.config.database.url)
            if self._keyed is None:
                self._keyed = self._keyed_writes(url)
            return self._stores.sql_watched, self._keyed
        if self._instant is not None:
            return await self._instant.store(), await self._instant.keyed_writes()
        raise not_ready()

    async def answers(self) -> bool:
        """Whether the database answers if it is asked now."""
        return await self._pulse.answers(anew=True)

    def pool_usage(self) -> PoolUsage | None:
        """How the connections for SQL are used now; `None` while there are none."""
        stores = self._stores or self._instant
        return None if stores is None else stores.usage()

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
        from kailash_mcp_prod.records.introspect import describe_model
        from kailash_mcp_prod.records.prepare import prepare_models

        async with self._changing:
            if name in self._models:
                return
            assert self._stores is not None  # noqa: S101 - set by start, before any caller
            model = describe_model(self._db, name)
            tables = await prepare_models(self._db, [model], auto_migrate=self._config.auto_migrate)
            store = self._stores.add(model, tables[name])
            self._models[name] = model
            if self._reads is not None:
                await self._reads.learn(str(self._db.config.database.url), self._models.values())
            self._registry.add(self._tools(store, model))
            log.info("model_added", model=name)
            if self._manifests is not None:
                # Without the application, the next process would not come to this model.
                await self._manifests.remove()

    def _tools(self, store: RecordStore, model: Model) -> list[ToolSpec]:
        if store not in self._discoveries:
            from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery

            make = self._discovery_class or DataFlowToolDiscovery
            if self._keyed is None:
                self._keyed = self._keyed_writes(str(self._db.config.database.url))
            self._discoveries[store] = make(
                store, self._config.operations, self._cursors, self._scopes, self._keyed
            )
        discovery = self._discoveries[store]
        return ModelFamily(model, discovery.tools_of).adopt(discovery.tools_of(model))

    def _keyed_writes(self, url: str) -> KeyedWrites:
        from kailash_mcp_prod.tools.idempotency import KeyedWrites

        return KeyedWrites.configured(self._config, url, self._policy)

    def _models_info(self) -> ToolSpec:
        stores = self._stores or self._instant
        assert stores is not None  # noqa: S101 - set by start
        return models_info_tool(self._registry, self._policy, self._models.values, stores.execution)
