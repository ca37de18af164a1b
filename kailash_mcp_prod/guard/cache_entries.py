"""What is cached: encoded results, bounded in bytes, the least recently used going first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

Key = tuple[str, str, bytes]
"""The tool, what its caller may see, and the canonical arguments."""

Stamp = tuple[int, str]
"""The state of a table, as this process and as all replicas count it."""

# Measured: the tuples, the key's and the entry's, the heads of three byte strings, and a place in
# an ordered dictionary.
ENTRY_OVERHEAD: Final = 560
_LARGEST_SHARE: Final = 8


class Entry(NamedTuple):
    """A result: its bytes, of which state it holds, and until when.

    `plain_size` is the length of what was compressed; 0 where nothing was.
    """

    body: bytes
    plain_size: int
    stamp: Stamp
    expires_at: float
    size: int


class Entries:
    """Entries by key, whose keys, values and overhead together stay within a bound.

    Args:
        max_bytes: The bound. A single entry may have an eighth of it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self.bytes = 0
        self.stored_bytes = 0
        self.plain_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, stamp: Stamp, now: float) -> Entry | None:
        """The entry, if it holds of that state and has not expired; else it is dropped."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.stamp != stamp or entry.expires_at <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(
        self, key: Key, body: bytes, *, plain_size: int, stamp: Stamp, expires_at: float
    ) -> None:
        """Keeps a result, unless it is too large; makes room for it."""
        size = ENTRY_OVERHEAD + len(key[0]) + len(key[1]) + len(key[2]) + len(body)
        if key in self._entries:
            self._drop(key)
        if size > self._max_bytes // _LARGEST_SHARE:
            return
        self._entries[key] = Entry(body, plain_size, stamp, expires_at, size)
        self._count(self._entries[key], 1)
        while self.bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._count(oldest, -1)
            self.evictions += 1

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self.bytes = self.stored_bytes = self.plain_bytes = 0

    def _drop(self, key: Key) -> None:
        self._count(self._entries.pop(key), -1)

    def _count(self, entry: Entry, sign: int) -> None:
        self.bytes += sign * entry.size
        self.stored_bytes += sign * len(entry.body)
        self.plain_bytes += sign * (entry.plain_size or len(entry.body))
