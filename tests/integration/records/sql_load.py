"""Writers that keep account of what they were told, for tests that end a database under them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Literal

from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.records.store import RecordStore
from tests.integration.records.sql_items import ITEM, item

Told = Literal["stored", "unknown", "absent", "failed"]

_PAUSE_SECONDS = 0.02
BULK = 3


@dataclass
class Load:
    """What a store has said to its writers.

    Attributes:
        stored: Keys of records whose creation was acknowledged.
        unknown: Keys of those that may be there, and may not.
        absent: Keys of those of which the store said that nothing was changed.
        counters: Of each writer that counts: the last acknowledged value, and the last tried.
        refused: How many calls were told to try again.
        failures: What nobody should see; the load ends with the first one.
        news: Told after each call.
    """

    store: RecordStore
    stored: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: int = 0
    failures: list[BaseException] = field(default_factory=list)
    stopped: bool = False
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def create(self, writer: int) -> None:
        """Creates one record after the other, by turns alone and several together."""
        number = 0
        while not self.stopped:
            number += 1
            keys = [f"w{writer}-{number}-{part}" for part in range(BULK if number % 2 else 1)]
            rows = [item(key) for key in keys]
            call: Awaitable[Any] = (
                self.store.create(ITEM, rows[0])
                if len(rows) == 1
                else self.store.create_many(ITEM, rows)
            )
            told = await self._told(call)
            if told != "failed":
                getattr(self, told).update(keys)

    async def count_up(self, writer: int) -> None:
        """Counts up in a record of its own, which is there."""
        key = f"counter{writer}"
        acknowledged = value = 0
        while not self.stopped:
            value += 1
            self.counters[key] = (acknowledged, value)
            if await self._told(self.store.update(ITEM, key, {"size": value}, {})) == "stored":
                acknowledged = value
                self.counters[key] = (acknowledged, value)

    async def read(self) -> None:
        """Reads all the time."""
        while not self.stopped:
            if await self._told(self.store.read(ITEM, "counter0")) == "unknown":
                self._fail(AssertionError("a read can't have an unknown outcome"))

    async def _told(self, call: Awaitable[Any]) -> Told:
        """What a call was told; one that is to be tried again ends after a pause."""
        told: Told = "stored"
        try:
            await call
        except UnavailableError as error:
            told = "unknown" if error.details else "absent"
            self.refused += 1
            if not error.retryable:
                self._fail(error)
        except Exception as failure:  # noqa: BLE001 - the test shows what it was
            told = "failed"
            self._fail(failure)
        async with self.news:
            self.news.notify_all()
        if told != "stored":
            await asyncio.sleep(_PAUSE_SECONDS)
        return told

    def _fail(self, failure: BaseException) -> None:
        self.failures.append(failure)
        self.stopped = True
