"""PostgreSQL stops between changes and their entries, and nothing acknowledged is without one."""

from __future__ import annotations

import asyncio
import random

from kailash_mcp_prod.errors import ServerError
from tests.integration.agents.deployments import eventually
from tests.integration.observe.test_audit import SECRET, WRITER, entries, verified
from tests.integration.workflows.workflow_world import running
from tests.postgres import DURABLE, running_postgres

AT_ONCE, CRASHES = 16, 3
SETTINGS = {
    "jwt_secret": SECRET,
    "rate_limit_per_minute": 1_000_000,
    "circuit_breaker_recovery_seconds": 0.1,
}


async def test_a_database_that_crashes_has_an_entry_of_every_change_it_has_kept() -> None:
    chance = random.Random(20_261_125)
    acknowledged: set[str] = set()
    with running_postgres(DURABLE) as postgres, postgres.database() as url:
        async with running([url], **SETTINGS) as world:
            enough = asyncio.Event()
            wanted, ending = 0, False

            async def write(number: int) -> None:
                count = 0
                while not ending:
                    count += 1
                    key = f"{number}-{count}"
                    try:
                        await world.call("Item_create", WRITER, data={"id": key, "name": "x"})
                    except ServerError:
                        # As clients do; the circuit is open for a while.
                        await asyncio.sleep(0.02)
                        continue
                    acknowledged.add(key)
                    if len(acknowledged) >= wanted:
                        enough.set()

            async with asyncio.TaskGroup() as group:
                for number in range(AT_ONCE):
                    group.create_task(write(number))
                for _ in range(CRASHES):
                    enough.clear()
                    wanted = len(acknowledged) + chance.randint(40, 120)
                    await asyncio.wait_for(enough.wait(), 30)
                    await asyncio.to_thread(postgres.crash)
                    await asyncio.to_thread(postgres.start_again)
                enough.clear()
                wanted = len(acknowledged) + 20
                await asyncio.wait_for(enough.wait(), 30)
                ending = True

            [server] = world.servers

            async def is_well() -> bool:
                return server.audit.components() == {}

            await eventually(is_well)
            found = await entries(world, outcome="ok")
            told = {each for entry in found for each in entry["ids"]}
            assert acknowledged <= told
            assert (await verified(world)).holds
