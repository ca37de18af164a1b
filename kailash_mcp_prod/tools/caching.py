"""Which calls are answered from the cache: those of record tools that read."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Awaitable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.breakers import Passage
from kailash_mcp_prod.guard.cache import ReadCache
from kailash_mcp_prod.guard.cache_entries import Key
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_versions import SharedVersions
from kailash_mcp_prod.records.effects import Effects, reflect_effects
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.spec import Handler, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.guard.shared_values import SharedValues

_MOST_SHAPES: Final = 4096
# No write outlasts its call by more than the database takes to notice.
_WRITES_END_SECONDS: Final = 30


class CachedReads:
    """Stands before the handlers of tools and answers for them what it knows.

    Args:
        cache: The cache.
        policy: Tells callers apart by what they may see.
        excluded: Names of models of which nothing is cached.
        values: What the cache keeps in Redis, if it does.
    """

    def __init__(
        self,
        cache: ReadCache,
        policy: Policy,
        *,
        excluded: Collection[str] = (),
        values: SharedValues | None = None,
    ) -> None:
        self.cache = cache
        self.generation = 0
        self._policy = policy
        self._excluded = frozenset(excluded)
        self._tables: dict[str, str] = {}
        self._values = values
        self._application = b""
        self._shapes = BoundedMemo[int, tuple[ToolSpec, bytes]](_MOST_SHAPES)

    @classmethod
    def configured(
        cls, config: ServerConfig, redis: RedisConnection | None, policy: Policy
    ) -> Self | None:
        """The cache that the settings ask for, if they ask for one.

        Args:
            config: The settings.
            redis: How the replicas hear of each other's writes; `None` where there is only one.
            policy: Who may see what.
        """
        if not config.enable_caching:
            return None
        # Late, because a process without a cache needs none of it.
        from kailash_mcp_prod.guard.compression import Compression

        longest = config.request_timeout_seconds + _WRITES_END_SECONDS
        shared = None if redis is None else SharedVersions(redis, writing_seconds=longest)
        max_bytes = round(config.cache_max_size_mb * 1024 * 1024)
        values, secret = None, config.cursor_key
        if redis is not None and secret is not None and config.cache_backend == "redis":
            from kailash_mcp_prod.guard.shared_values import SharedValues

            values = SharedValues(
                redis, secret, max_bytes=max_bytes, ttl_seconds=config.cache_ttl_seconds
            )
        cache = ReadCache(
            Changes(shared, doubt_seconds=longest),
            max_bytes=max_bytes,
            ttl_seconds=config.cache_ttl_seconds,
            compression=Compression() if config.enable_compression else None,
            values=values,
        )
        return cls(cache, policy, excluded=config.cache_exclude_models, values=values)

    def health(self) -> dict[str, Any]:
        """The cache's component in the report on health."""
        well = self.cache.changes.is_well
        state = "caching" if well else "bypassed: Redis does not answer"
        if well and self._values is not None and self._values.is_full:
            state = "caching; in Redis, cache_max_size_mb is used up for now"
        return {
            "status": "healthy" if well else "degraded",
            "state": state,
            "backend": "memory" if self._values is None else "redis",
            "entries": self.cache.snapshot().entries,
        }

    async def stop(self) -> None:
        """Ends what is running in the background."""
        await self.cache.changes.stop()

    async def learn(self, url: str, models: Collection[Model]) -> None:
        """Caches reads of these models, now that it is known what changes with what.

        Args:
            url: The address of their database.
            models: All models that are served.
        """
        self._application = _identity(url)
        self.serve(models, await reflect_effects(url, [model.table for model in models]))

    def serve(self, models: Iterable[Model], effects: Effects) -> None:
        """Caches reads of these models from now on.

        Args:
            models: All models that are served.
            effects: What writes of their tables change.
        """
        self.generation += 1
        self.cache.changes.learn(effects.affected)
        self._tables = {
            model.name: model.table
            for model in models
            if model.name not in self._excluded
            and model.table in effects.affected
            and model.table not in effects.derived
        }

    async def run(
        self, tool: ToolSpec, call: ToolCall, passage: Passage, handle: Handler
    ) -> dict[str, Any]:
        """What the tool answers, now or a while ago.

        Args:
            tool: The tool.
            call: The call of it.
            passage: The call's way to the database, of which it is told if it is not used.
            handle: Asks the database.

        Raises:
            ServerError: What the handler raises.
        """
        place = self.place_of(tool, call)
        if place is None:
            return await handle(call)
        key, table = place
        passage.used = False

        def load() -> Awaitable[dict[str, Any]]:
            passage.used = True
            return handle(call)

        return await self.cache.read(key, table, load, self._shape(tool))

    @property
    def asks_others(self) -> bool:
        """Whether other replicas are asked each time for what they have written."""
        return self.cache.changes.is_shared

    def keeps(self, tool: ToolSpec) -> bool:
        """Whether results of a tool are kept, until `generation` changes."""
        reads = tool.operation is not None and tool.hints.read_only
        return reads and tool.group in self._tables

    def place_of(self, tool: ToolSpec, call: ToolCall) -> tuple[Key, str] | None:
        """Under which key the result of a call is kept, and whose rows it shows.

        `None` for a call of which nothing is kept. It holds until `generation` changes.
        """
        arguments = canonical(call.arguments) if self.keeps(tool) else None
        if arguments is None:
            return None
        table = self._tables[tool.group]
        return (tool.name, self._policy.fingerprint(call.principal), arguments), table

    def _shape(self, tool: ToolSpec) -> bytes:
        """What tells results of the tool from those of other versions and databases."""
        if self._values is None:
            return b""
        # With the tool, so that no other gets its id.
        return self._shapes.get(id(tool), lambda: (tool, self._find_shape(tool)))[1]

    def _find_shape(self, tool: ToolSpec) -> bytes:
        described = __version__, tool.input_schema, tool.output_schema
        text = msgspec.json.encode(described, order="deterministic")
        return hashlib.sha256(self._application + text).digest()


def _identity(url: str) -> bytes:
    """What tells a database, as one of its users sees it, from all others."""
    from sqlalchemy.engine import make_url

    address = make_url(url)
    parts = [address.set(password=None).render_as_string()]
    if address.get_backend_name() == "sqlite":
        # A file is one of this machine, and what is in memory is this process's.
        in_memory = not address.database or "memory" in parts[0]
        parts += [socket.gethostname(), uuid.uuid4().hex if in_memory else ""]
    return msgspec.json.encode(parts)
