"""Results of reads that replicas keep for each other in Redis, sealed.

Redis learns neither what a result says nor who may see it: it holds sealed bytes under names that
are keyed hashes. A name holds all that the result depends on, the state of its table too, so what
was kept before a write has a name that nobody asks for any more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kailash_mcp_prod.guard.redis import RedisConnection, RedisDownError
from kailash_mcp_prod.observe.logs import get_logger

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = get_logger(__name__)

_PURPOSE: Final = b"results in Redis, "
_NONCE_BYTES: Final = 12
_SIZE_BYTES: Final = 4
_LARGEST_SHARE: Final = 8
# Redis 6.2 was measured to take up to 126 bytes for a key that ends by itself, beside its name and
# value.
_OVERHEAD: Final = 160
# All replicas that have lost Redis together have told of their writes after that.
_SETTLING_SECONDS: Final = 5.0

# KEYS: the value, and how much was kept in which span of time. ARGV: the value, for how many
# milliseconds values are kept, which is how long a span is, its size, and the bound. All that is
# still there was kept in this span or the one before.
_KEEP: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local span = math.floor(now / tonumber(ARGV[2]))
local kept = redis.call('HGETALL', KEYS[2])
local sum = tonumber(ARGV[3])
for at = 1, #kept, 2 do
  if tonumber(kept[at]) < span - 1 then
    redis.call('HDEL', KEYS[2], kept[at])
  else
    sum = sum + tonumber(kept[at + 1])
  end
end
if sum > tonumber(ARGV[4]) then
  return 0
end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('HINCRBY', KEYS[2], span, ARGV[3])
  redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
end
return 1
"""


class Found(NamedTuple):
    """A result that was kept: its bytes, as `Compression` gave them, and how long it is good."""

    body: bytes
    plain_size: int
    seconds_left: float


class SharedValues:
    """Keeps results in Redis and finds what others have kept.

    What Redis can't do now is not done: then nothing is found, and nothing kept.

    Args:
        redis: The connection.
        secret: What results are sealed with, the same in all replicas.
        max_bytes: How much Redis is given to keep, by all replicas together. A single result may
            have an eighth of it.
        ttl_seconds: How long a result is good.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self,
        redis: RedisConnection,
        secret: bytes,
        *,
        max_bytes: int,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        # Not the secret itself, which signs other things too.
        self._naming_key = hmac.digest(secret, _PURPOSE + b"names", "sha256")
        self._sealing_key = hmac.digest(secret, _PURPOSE + b"values", "sha256")
        self._max_bytes = max_bytes
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._since = clock()
        self.is_full = False
        redis.on_change(self._turned)

    def name(self, parts: Iterable[bytes]) -> bytes:
        """The name of the result that depends on all these, in this order."""
        text = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hmac.digest(self._naming_key, text, "sha256")

    async def find(self, name: bytes) -> Found | None:
        """What was kept under a name, if it may be used."""
        key = self._key(name)
        try:
            sealed, milliseconds = await self._redis.run(lambda client: _get(client, key))
        except RedisDownError:
            return None
        if sealed is None or milliseconds <= 0:
            return None
        seconds_left = milliseconds / 1000
        if self._is_doubtful(seconds_left):
            return None
        try:
            opened = self._cipher(name).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            log.warning("cached_result_was_changed_in_redis")
            await self._forget(key)
            return None
        plain_size = int.from_bytes(opened[:_SIZE_BYTES], "big")
        return Found(opened[_SIZE_BYTES:], plain_size, min(seconds_left, self._ttl_seconds))

    async def keep(self, name: bytes, body: bytes, plain_size: int) -> None:
        """Keeps a result under a name, for the others and later.

        Args:
            name: What `name` gave.
            body: As `Compression` gave it.
            plain_size: The length of what was compressed; 0 where nothing was.
        """
        nonce = os.urandom(_NONCE_BYTES)
        opened = plain_size.to_bytes(_SIZE_BYTES, "big") + body
        sealed = nonce + self._cipher(name).encrypt(nonce, opened, None)
        key = self._key(name)
        size = len(key) + len(sealed) + _OVERHEAD
        if size > self._max_bytes // _LARGEST_SHARE:
            return
        milliseconds = max(1, round(self._ttl_seconds * 1000))
        kept = self._redis.key("cache", "{values}", "bytes", str(milliseconds))
        arguments = sealed, milliseconds, size, self._max_bytes
        try:
            done = await self._redis.run(
                lambda client: client.eval(_KEEP, 2, key, kept, *arguments)
            )
        except RedisDownError:
            return
        self.is_full = not done

    def _key(self, name: bytes) -> str:
        # The braces keep values and what is counted of them together.
        text = base64.urlsafe_b64encode(name).decode().rstrip("=")
        return self._redis.key("cache", "{values}", text)

    def _cipher(self, name: bytes) -> AESGCM:
        # A key for each name: what stands under one opens under no other, and so few results are
        # sealed with one key that random nonces never meet.
        return AESGCM(hmac.digest(self._sealing_key, name, "sha256"))

    def _is_doubtful(self, seconds_left: float) -> bool:
        """Whether it may be from before a write that is only now being told of."""
        up_for = self._clock() - self._since
        return up_for < _SETTLING_SECONDS and self._ttl_seconds - seconds_left >= up_for

    def _turned(self, up: bool) -> None:
        if up:
            self._since = self._clock()

    async def _forget(self, key: str) -> None:
        try:
            await self._redis.run(lambda client: client.delete(key))
        except RedisDownError:
            return


async def _get(client: Redis, key: str) -> tuple[bytes | None, int]:
    pipeline = client.pipeline(transaction=False)
    pipeline.get(key)
    pipeline.pttl(key)
    found: list[Any] = await pipeline.execute()
    return found[0], found[1]
