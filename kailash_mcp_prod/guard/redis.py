"""The one owner of the connections to Redis: it knows whether Redis can be used now."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.guard.deadline import Deadline
from kailash_mcp_prod.observe.logs import get_logger

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = get_logger(__name__)

T = TypeVar("T")

_OPERATION_SECONDS = 0.25
_PROBE_SECONDS = 1.0
_MOST_CONNECTIONS = 32


class RedisDownError(Exception):
    """Redis can't be used now. Whoever asked does without it; no caller ever sees this."""


class RedisConnection:
    """A bounded pool of connections, and whether Redis is up.

    The first failure marks it as down. From then on nothing waits for it: `run` refuses at once,
    while one probe a second finds out when it is back. The probe writes, because a Redis that is
    full or only a replica answers pings too.

    Args:
        url: Its address: `redis://`, `rediss://` or `unix://`. May hold a password; nothing of it
            is ever logged.
        prefix: What the names of all keys and channels begin with.
        operation_seconds: How long one operation may take, with the wait for a connection.
        probe_seconds: How often Redis is looked at.

    Raises:
        ConfigError: The package `redis` is not installed.

    Example:
        ```python
        redis = RedisConnection("redis://localhost", "my-app")
        await redis.start()
        try:
            value = await redis.run(lambda client: client.get(redis.key("cache", "a")))
        except RedisDownError:
            value = None
        ```
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        operation_seconds: float = _OPERATION_SECONDS,
        probe_seconds: float = _PROBE_SECONDS,
    ) -> None:
        try:
            from redis.exceptions import RedisError
        except ImportError:
            raise ConfigError(
                "redis_url needs the package redis: install kailash-mcp-prod[redis]."
            ) from None
        self._url = url
        self._prefix = prefix
        self._operation_seconds = operation_seconds
        self._operations = Delays(operation_seconds)
        self._probe_seconds = probe_seconds
        self._failures: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._client: Redis | None = None
        self._prober: asyncio.Task[None] | None = None
        self._listeners: dict[object, Callable[[bool], None]] = {}
        self._up = False
        self._since = time.monotonic()

    @property
    def is_up(self) -> bool:
        """Whether Redis answered when it was last asked."""
        return self._up

    def key(self, *parts: str) -> str:
        """The name of a key or channel of this application."""
        return ":".join((self._prefix, *parts))

    async def start(self) -> None:
        """Looks once whether Redis is there, and goes on looking. That it is away is no failure."""
        self._client = self._connect()
        self._up = True
        await self._probe()
        self._prober = asyncio.create_task(self._keep_probing(), name="redis-prober")

    async def stop(self) -> None:
        """Closes all connections; `run` refuses from now on."""
        self._up = False
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.wait({self._prober})
            self._prober = None
        if self._client is not None:
            with suppress(*self._failures):
                await self._client.aclose()
            self._client = None

    async def run(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Does something with Redis, if that can be done quickly.

        Args:
            operation: Gets the client; a few commands, best one script or pipeline. It may have
                been done although this raises.

        Raises:
            RedisDownError: Redis is down, or did not do it in time, and so is down from now on.
        """
        client = self._client
        if client is None or not self._up:
            raise RedisDownError
        try:
            with Deadline(self._operations):
                return await operation(client)
        except self._failures as failure:
            self._mark_down(failure)
            raise RedisDownError from failure

    async def look(self) -> None:
        """Finds out now whether Redis is up, without waiting for the next probe."""
        if self._client is not None:
            await self._probe()

    def on_change(self, listener: Callable[[bool], None]) -> Callable[[], None]:
        """Calls the listener with whether Redis is up when that changes; returned is its end."""
        key = object()
        self._listeners[key] = listener

        def end() -> None:
            self._listeners.pop(key, None)

        return end

    def client(self) -> Redis:
        """The client itself, for what stays connected, such as a subscription.

        Raises:
            RedisDownError: The connection is not started.
        """
        if self._client is None:
            raise RedisDownError
        return self._client

    def health(self) -> dict[str, Any]:
        """Its component in the report on health."""
        return {
            "status": "healthy" if self._up else "unhealthy",
            "state": "up" if self._up else "down",
            "seconds_in_state": round(time.monotonic() - self._since, 1),
        }

    def _connect(self) -> Redis:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_MOST_CONNECTIONS,
            # How long an operation takes is limited by whoever starts it. With a time of its own,
            # the client would send each command through `asyncio.wait_for`, which costs a task and
            # on Python 3.11 may swallow a cancellation.
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=4 * self._operation_seconds,
            # Whoever asks gets on without Redis; to try again is the prober's business.
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        client: Redis = Redis.from_pool(pool)
        return client

    async def _keep_probing(self) -> None:
        while True:
            # Not in step with the other replicas.
            await asyncio.sleep(self._probe_seconds * random.uniform(0.75, 1.25))  # noqa: S311
            await self._probe()

    async def _probe(self) -> None:
        client = self.client()
        try:
            with Deadline(self._operations):
                await client.set(self.key("probe", uuid4().hex[:2]), b"1", px=1000)
        except self._failures as failure:
            self._mark_down(failure)
        else:
            self._mark_up()

    def _mark_down(self, failure: Exception) -> None:
        if self._up:
            # Not its text, which may hold the address.
            log.warning("redis_down", reason=type(failure).__name__)
            self._turn(up=False)

    def _mark_up(self) -> None:
        if not self._up:
            log.info("redis_up")
            self._turn(up=True)

    def _turn(self, *, up: bool) -> None:
        self._up = up
        self._since = time.monotonic()
        for listener in tuple(self._listeners.values()):
            listener(up)
