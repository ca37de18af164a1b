"""A channel of Redis on which replicas tell each other short texts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_AGAIN_SECONDS: Final = 0.25
_SILENT_SECONDS: Final = 1.0


class Channel:
    """Says texts to whoever listens now, and hears them.

    Args:
        redis: The connection.
        name: Of the channel.
    """

    def __init__(self, redis: RedisConnection, name: str) -> None:
        self._redis = redis
        self._key = redis.key("channel", name)
        self._subscribed = False

    @property
    def hears(self) -> bool:
        """Whether what others say now would be heard."""
        return self._subscribed and self._redis.is_up

    async def publish(self, texts: Collection[str]) -> None:
        """Says texts to all that listen.

        Raises:
            RedisDownError: Redis is away; some may have been heard.
        """

        async def say(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for text in texts:
                pipeline.publish(self._key, text)
            await pipeline.execute()

        await self._redis.run(say)

    async def messages(self) -> AsyncIterator[str]:
        """What is said, until the caller stops; when Redis was away, some is lost."""
        from redis.exceptions import RedisError

        while True:
            with suppress(RedisError, OSError, TimeoutError, RedisDownError):
                pubsub = self._redis.client().pubsub()
                try:
                    await pubsub.subscribe(self._key)
                    async for text in self._heard(pubsub):
                        yield text
                finally:
                    self._subscribed = False
                    with suppress(RedisError, OSError):
                        await pubsub.aclose()  # type: ignore[no-untyped-call]
            # Not all replicas at once.
            await asyncio.sleep(_AGAIN_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311

    async def _heard(self, pubsub: Any) -> AsyncIterator[str]:
        """Ends when Redis is found to be away: the connection may not know it yet."""
        while True:
            message = await pubsub.get_message(timeout=_SILENT_SECONDS)
            if message is None:
                if not self._redis.is_up:
                    return
            elif message["type"] == "subscribe":
                self._subscribed = True
            else:
                yield message["data"].decode()
