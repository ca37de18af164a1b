"""The same windows in Redis, where all replicas count together: one round trip for a call."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b, sha1
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.windows import WINDOW_SECONDS, Key, Refusal, Rule

if TYPE_CHECKING:
    from redis.asyncio import Redis

# Each key is a list of the times of its calls. The call that decides is the one `limit` calls ago:
# if it has left the window, there is room. Redis's clock is the same for all replicas. How many
# times that are over are taken away at once is bounded, because nobody else is served meanwhile.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = tonumber(ARGV[1])
local refused, wait = 0, 0
for at, key in ipairs(KEYS) do
  local deciding = redis.call('LINDEX', key, '-' .. ARGV[at + 1])
  if deciding then
    local left = math.min(tonumber(deciding) - now + window, window)
    if left > wait then refused, wait = at, left end
  end
end
if refused > 0 then return {refused, wait} end
for _, key in ipairs(KEYS) do
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, window / 1000)
  for _ = 1, 100 do
    if tonumber(redis.call('LINDEX', key, 0)) > now - window then break end
    redis.call('LPOP', key)
  end
end
return {0, 0}
"""
_TAKE_SHA = sha1(_TAKE.encode(), usedforsecurity=False).hexdigest()
_WINDOW_MICROSECONDS = WINDOW_SECONDS * 1_000_000


class RedisWindows:
    """Counts calls in Redis.

    Args:
        redis: The connection.
    """

    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis

    @property
    def is_up(self) -> bool:
        """Whether calls are counted there now."""
        return self._redis.is_up

    async def take(self, rules: Sequence[Rule]) -> Refusal | None:
        """Counts one call against all rules, or against none if one of them refuses it.

        Raises:
            RedisDownError: It can't be said.
        """
        keys = [self._name(key) for key, _ in rules]
        arguments = [_WINDOW_MICROSECONDS, *(limit for _, limit in rules)]
        at, wait = await self._redis.run(lambda client: _evaluate(client, keys, arguments))
        return (rules[at - 1], wait / 1_000_000) if at else None

    def _name(self, key: Key) -> str:
        kind, subject = ("", key) if isinstance(key, str) else (key[0], key[-1])
        # Subjects may be long, and say who people are.
        return self._redis.key("rate", kind, blake2b(subject.encode(), digest_size=16).hexdigest())


async def _evaluate(client: Redis, keys: list[str], arguments: list[int]) -> tuple[int, int]:
    from redis.exceptions import NoScriptError

    parts: list[Any] = [len(keys), *keys, *arguments]
    try:
        at, wait = await client.evalsha(_TAKE_SHA, *parts)
    except NoScriptError:
        at, wait = await client.eval(_TAKE, *parts)
    return at, wait
