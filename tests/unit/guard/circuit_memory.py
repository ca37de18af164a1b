"""What the scripts of shared circuits do in Redis, said once more in Python.

`tests/integration/guard/test_shared_circuits.py` holds the real scripts to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from kailash_mcp_prod.guard.circuit_scripts import EXCHANGE, TAKE
from kailash_mcp_prod.guard.redis import RedisDownError

T = TypeVar("T")
LENIENCE = 50


class CircuitMemory:
    """A Redis with a clock that can be set, which does what the scripts say.

    Args:
        now: Milliseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.forget()

    def forget(self) -> None:
        """Loses everything."""
        self.name = ""
        self.circuits: dict[str, int] = {}
        self.leases: dict[str, str] = {}
        # Under which tokens the last one who came has given a lease back, or holds it.
        self.named: list[str] = []

    def lapse(self, held: Collection[str]) -> None:
        """Ends the leases that nobody renews."""
        self.leases = {key: token for key, token in self.leases.items() if token in held}

    async def eval(self, script: str, key_count: int, *given: Any) -> Any:
        """As the client's."""
        keys, arguments = given[:key_count], given[key_count:]
        if script is TAKE:
            return self._take(keys[1], *arguments)
        assert script is EXCHANGE
        return self._exchange(keys[1:], *arguments)

    def _take(self, key: str, name: str, token: str, *more: Any) -> int:
        lease, memory, pause = more
        if name in self.circuits:
            left = self.circuits[name] - self.now()
            if left > LENIENCE:
                return left
        elif memory and memory == self.name:
            return -1
        if key in self.leases:
            return max(1, min(lease, pause))
        self.leases[key] = token
        return 0

    def _exchange(self, keys: tuple[str, ...], memory: int, *more: Any) -> list[Any]:
        _, over, held, *rest = more
        self.name = self.name or str(memory)
        self.named, news = rest[: over + held], rest[over + held :]
        for name, milliseconds in zip(news[::2], news[1::2], strict=True):
            if milliseconds < 0:
                self.circuits.pop(name, None)
            else:
                self.circuits[name] = self.now() + milliseconds
        for key, token in zip(keys[:over], self.named[:over], strict=True):
            if self.leases.get(key) == token:
                del self.leases[key]
        found: list[Any] = [self.name.encode()]
        for name, until in sorted(self.circuits.items(), key=lambda each: each[1]):
            found += [name.encode(), until - self.now()]
        return found


class MemoryConnection:
    """A connection to such a Redis, which can be cut.

    Args:
        memory: The Redis.
    """

    def __init__(self, memory: CircuitMemory) -> None:
        self._memory = memory
        self.up = True
        # Does what happens in this process while an answer is on its way.
        self.meanwhile: Callable[[], None] = lambda: None

    def key(self, *parts: str) -> str:
        """As of a real one."""
        return ":".join(parts)

    async def run(self, operation: Callable[[CircuitMemory], Awaitable[T]]) -> T:
        """As of a real one."""
        if not self.up:
            raise RedisDownError
        answer = await operation(self._memory)
        self.meanwhile()
        return answer
