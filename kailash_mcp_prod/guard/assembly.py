"""The limits and breakers of a server as its settings say, and the Redis that they share."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.redis_windows import RedisWindows
from kailash_mcp_prod.guard.shared_circuits import SharedCircuits


class Guard:
    """What keeps a server well.

    Args:
        config: The settings.

    Raises:
        ConfigError: There is a `redis_url`, and the package `redis` is not installed.
    """

    def __init__(self, config: ServerConfig) -> None:
        url = config.redis_url
        self.redis = None if url is None else RedisConnection(url, config.redis_prefix)
        self.rates = RateLimit(
            config.rate_limit_per_minute,
            everybody=config.global_rate_limit_per_minute,
            kinds={str(kind): limit for kind, limit in config.rate_limits.items()},
            shared=None if self.redis is None else RedisWindows(self.redis),
        )
        self.concurrency = ConcurrencyLimit(
            config.max_concurrent_requests, wait_seconds=config.request_timeout_seconds
        )
        connections = config.connection_pool_size + config.connection_pool_max_overflow
        self.database = ConcurrencyLimit(
            connections,
            # The deadline of the call itself comes first.
            wait_seconds=2 * config.request_timeout_seconds,
            waiting=config.max_concurrent_requests,
            share=connections - connections // 4,
        )
        self.breakers = Breakers(
            config.circuit_breaker_failure_threshold, config.circuit_breaker_recovery_seconds
        )
        self._circuits = None if self.redis is None else SharedCircuits(self.breakers, self.redis)

    async def start(self) -> None:
        """Connects to Redis, if there is one; that it does not answer is no failure."""
        if self.redis is not None and self._circuits is not None:
            await self.redis.start()
            await self._circuits.start()

    async def stop(self) -> None:
        """Ends that."""
        await self.breakers.stop()
        if self.redis is not None and self._circuits is not None:
            await self._circuits.stop()
            await self.redis.stop()

    def components(self) -> dict[str, dict[str, Any]]:
        """Its components in the report on health, but for Redis, which has to be asked."""
        return {
            "rate_limits": self.rates.health(),
            "concurrency": self.concurrency.health(),
            "circuit_breakers": self.breakers.health(),
        }
