"""A process that writes into a SQLite file through our own store until it is killed.

Run with the address of the database; it prints the key of each record when it is acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from tests.integration.records.sql_items import ITEM, item, item_store

IN_FLIGHT = 50


async def write(url: str) -> None:
    """Keeps many writes in flight, for ever."""
    numbers = count()
    async with item_store(url) as store:

        async def create() -> None:
            while True:
                key = f"k{next(numbers)}"
                if int(key[1:]) % 10:
                    await store.create(ITEM, item(key))
                else:
                    await store.create_many(ITEM, [item(key)])
                sys.stdout.write(f"{key}\n")
                sys.stdout.flush()

        await asyncio.gather(*(create() for _ in range(IN_FLIGHT)))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1]))
