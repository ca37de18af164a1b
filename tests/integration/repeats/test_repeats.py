"""Reads that come again, word for word: answered without a second look, and never otherwise."""

from __future__ import annotations

import asyncio
import random
import time
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.guard.breaker import Outcome
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey
from kailash_mcp_prod.tools.spec import DATABASE
from tests.integration.records.plain_sql import run_sql
from tests.integration.repeats.shops import (
    KEYS,
    NORTH,
    ROLES,
    SHOPS,
    SOUTH,
    SPARING,
    Site,
    calling,
    reading,
    record_in,
    shops,
    site_at,
)
from tests.redis_server import RedisServer


async def test_a_read_that_comes_again_gets_the_same_answer_under_its_own_id(
    site: Site, at_once: list[bool]
) -> None:
    ids = [1, 2, 3, -5, 2**70, "", "b-7", 'a "quoted" \u00fc', 1]
    answers = [await site.read(NORTH, "north-0", each) for each in ids]

    # An id that has to be decoded is left to the usual way.
    assert at_once == [False, False, True, True, True, True, True, False, True]
    assert [each.json()["id"] for each in answers] == ids
    first, *others = [each.json() | {"id": None} for each in answers]
    assert all(each == first for each in others)
    assert answers[0].content == answers[-1].content
    assert len({each.headers["x-request-id"] for each in answers}) == len(ids)
    assert {name: value for name, value in answers[0].headers.items() if name[0] not in "dx"} == {
        name: value for name, value in answers[-1].headers.items() if name[0] not in "dx"
    }
    assert record_in(answers[-1]) == {"id": "north-0", "region": "north", "size": 0} | {
        name: record_in(answers[0])[name] for name in ("created_at", "updated_at")
    }


async def test_a_write_is_seen_at_once(site: Site, at_once: list[bool]) -> None:
    await site.three_reads()
    await site.change("north-0", size=70)
    after = [await site.read(NORTH, "north-0") for _ in range(2)]

    assert [record_in(each)["size"] for each in after] == [70, 70]
    assert at_once == [False, False, True, False, True]


async def test_what_others_write_is_seen_when_the_time_is_over(
    site: Site, sqlite_url: str, at_once: list[bool]
) -> None:
    await site.three_reads()
    run_sql(sqlite_url, "UPDATE shops SET size = 99 WHERE id = 'north-0'")
    assert record_in(await site.read(NORTH, "north-0"))["size"] == 0
    reads = site.server.reads
    assert reads is not None
    reads.cache._clock = lambda: time.monotonic() + 3600
    assert record_in(await site.read(NORTH, "north-0"))["size"] == 99

    assert at_once == [False, False, True, True, False]


async def test_agents_see_their_own_rows_and_fields_only(site: Site, at_once: list[bool]) -> None:
    for shop in SHOPS:
        for key, region in ((NORTH, "north"), (SOUTH, "south")):
            answers = [await site.read(key, shop) for _ in range(4)]
            if shop.startswith(region):
                assert [record_in(each)["id"] for each in answers] == [shop] * 4
                assert "margin" not in answers[-1].text
                assert at_once[-4:] == [False, False, True, True]
            else:
                codes = [record_in(each)["error"]["code"] for each in answers]
                assert codes == ["not_found"] * 4
                assert at_once[-4:] == [False] * 4


async def test_a_limit_counts_them_like_all_calls(site: Site) -> None:
    answers = [await site.read(SPARING, "north-0") for _ in range(9)]

    found = [record_in(each).get("error", {}).get("code") for each in answers]
    assert found == [None] * 7 + ["rate_limited"] * 2


async def test_metrics_count_them_like_all_calls(site: Site, at_once: list[bool]) -> None:
    async def figures() -> tuple[Any, ...]:
        found = site.server.monitoring.monitor
        calls = found.calls.cells["Shop_read", "ok", False]
        agent = found.calls.agents["key:north"]
        (times,) = (
            each for key, each in found.operations.operations.items() if key.tool == "Shop_read"
        )
        rows = found.calls.rows["Shop_read"].read
        reads = site.server.reads
        assert reads is not None
        hits = reads.cache.snapshot().hits
        return (
            *(calls.count, calls.cached, calls.times.count, agent.calls, agent.rows.read),
            *(agent.characters, times.count, rows, hits),
        )

    answer = await site.three_reads()
    before = await figures()
    for _ in range(5):
        await site.read(NORTH, "north-0")
    after = await figures()

    assert at_once[-5:] == [True] * 5
    characters = 5 * len(answer.text)
    assert [new - old for new, old in zip(after, before, strict=True)] == [
        *(5, 5, 5, 5, 5, characters, 5, 5, 5)
    ]


async def test_the_records_of_the_newest_result_are_counted(
    site: Site, at_once: list[bool]
) -> None:
    body = calling("Shop_list", {"filter": {"region": "north"}})

    async def rows_read() -> int:
        before = site.server.monitoring.monitor.calls.rows["Shop_list"].read
        await site.post(NORTH, body, "Shop_list")
        assert at_once[-1]
        return site.server.monitoring.monitor.calls.rows["Shop_list"].read - before

    for _ in range(3):
        await site.post(NORTH, body, "Shop_list")
    assert await rows_read() == 2
    data = {"id": "north-9", "region": "north", "size": 1, "margin": 1}
    await site.server.mcp_server.call_tool("Shop_create", {"data": data})
    await site.post(NORTH, body, "Shop_list")

    assert await rows_read() == 3


class Turncoat:
    """Knows one badge, whose bearer moves from region to region."""

    region = "north"

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        claims = MappingProxyType({"region": self.region})
        roles = frozenset({"member"})
        return Principal("badge", frozenset(), method="badge", roles=roles, claims=claims)


async def test_whose_rights_have_changed_gets_what_he_may_see_now(
    sqlite_url: str, at_once: list[bool]
) -> None:
    badge = Turncoat()
    async with site_at(
        sqlite_url, auth_type=("custom",), api_keys={}, auth_providers=[badge]
    ) as site:
        await site.three_reads()
        badge.region = "south"
        answer = await site.read(NORTH, "north-0")

    assert record_in(answer)["error"]["code"] == "not_found"
    assert at_once == [False] * 4


async def test_a_revoked_key_gets_nothing_any_more(sqlite_url: str, at_once: list[bool]) -> None:
    database = StateDatabase(sqlite_url, connections=1)
    operator = CredentialStore(database)
    async with site_at(sqlite_url, key_store=True, api_keys={}, roles={}) as site:
        await operator.prepare()
        key = mint_key()
        given = StoredKey(
            id=key.id, digest=key.digest, lineage=key.id, permissions=("*",), created_at=time.time()
        )
        await operator.add(given)
        await site.three_reads(key.text)
        assert at_once == [False, False, True]

        await operator.revoke(key.id)
        async with asyncio.timeout(10):
            while (answer := await site.read(key.text, "north-0")).status_code == 200:
                assert record_in(answer)["id"] == "north-0"

        assert answer.status_code == 401
        assert "north-0" not in answer.text
    await database.close()


async def test_a_tool_that_is_gone_is_not_known(site: Site, at_once: list[bool]) -> None:
    await site.three_reads()
    tools = list(site.server.registry.every())
    site.server.registry.remove_group("Shop")
    gone = [await site.read(NORTH, "north-0") for _ in range(3)]
    site.server.registry.add(tools)
    back = [await site.read(NORTH, "north-0") for _ in range(2)]

    assert [each.json()["error"]["code"] for each in gone] == [-32602] * 3
    assert [record_in(each)["id"] for each in back] == ["north-0"] * 2
    assert at_once[3:] == [False, False, False, False, True]


async def test_an_open_circuit_lets_none_through(site: Site, at_once: list[bool]) -> None:
    await site.three_reads()
    breakers = site.server._guard.breakers
    for _ in range(site.server.config.circuit_breaker_failure_threshold):
        breakers.tell(DATABASE, breakers.admit(DATABASE), Outcome.FAILED)
    refused = await site.read(NORTH, "north-0")
    assert record_in(refused)["error"]["code"] == "circuit_open"

    breakers.close_from_afar(DATABASE)
    assert record_in(await site.read(NORTH, "north-0"))["id"] == "north-0"
    assert at_once[3:] == [False, True]


async def test_a_server_that_stops_takes_none(site: Site, at_once: list[bool]) -> None:
    await site.three_reads()
    assert await site.server.service.drain(1)
    refused = await site.read(NORTH, "north-0")

    assert record_in(refused)["error"]["code"] == "unavailable"
    assert at_once[-1] is False


async def test_calls_of_a_session_are_counted_there(site: Site, at_once: list[bool]) -> None:
    body = calling("create_agent_session", {})
    session = record_in(await site.post(NORTH, body, "create_agent_session"))["session_id"]
    read = calling("Shop_read", {"id": "north-0", "_session_id": session})
    for _ in range(4):
        assert record_in(await site.post(NORTH, read))["id"] == "north-0"

    assert at_once == [False] * 5


async def test_a_request_that_asks_for_more_is_looked_at_each_time(
    site: Site, at_once: list[bool]
) -> None:
    for meta in ({"progressToken": 1}, {"io.modelcontextprotocol/logLevel": "debug"}):
        for _ in range(4):
            answer = await site.post(NORTH, reading("north-0", **meta))
            assert "north-0" in answer.text
    for _ in range(4):
        answer = await site.read(NORTH, "north-0", idempotency_key="k-1")
        assert record_in(answer)["id"] == "north-0"

    assert at_once == [False] * 12


@pytest.mark.parametrize(
    "settings", [{"enable_caching": False}, {"cache_exclude_models": ["Shop"]}]
)
async def test_without_a_cache_none_is_answered_at_once(
    sqlite_url: str, at_once: list[bool], settings: dict[str, Any]
) -> None:
    async with site_at(sqlite_url, **settings) as site:
        await site.three_reads()
        await site.read(NORTH, "north-0")

    assert at_once == [False] * 4


async def test_replicas_ask_each_other_each_time(
    sqlite_url: str, redis_server: RedisServer, at_once: list[bool]
) -> None:
    async with site_at(sqlite_url, redis_url=redis_server.url) as site:
        await site.three_reads()
        await site.read(NORTH, "north-0")

    assert at_once == [False] * 4


def comparable(response: httpx.Response) -> Any:
    """The answer without the id that the server gives a request; errors show that."""
    result = response.json()["result"]
    if result["isError"]:
        del result["structuredContent"]["error"]["request_id"], result["content"]
    return result


async def test_random_reads_and_writes_give_what_a_server_without_a_cache_gives(
    sqlite_url: str, at_once: list[bool]
) -> None:
    randomness = random.Random(7)
    async with (
        site_at(sqlite_url) as site,
        ProductionMCPServer(
            ServerConfig(
                port=0, database_url=sqlite_url, api_keys=KEYS, roles=ROLES, log_level="ERROR"
            ),
            dataflow=shops(sqlite_url),
        ) as plain,
    ):
        oracle = Site(plain, site.web)
        for step in range(250):
            shop, key = randomness.choice(SHOPS), randomness.choice((NORTH, SOUTH))
            match randomness.randrange(12):
                case 0:
                    await site.change(shop, size=step)
                case 1:
                    region = randomness.choice(("north", "south"))
                    await site.change(shop, region=region)
                case 2 | 3 | 4:
                    body = calling("Shop_list", {"sort": ["id"]}, step)
                    tool = "Shop_list"
                    answer = await site.post(key, body, tool)
                    assert answer.json() == (await oracle.post(key, body, tool)).json()
                case _:
                    answer = await site.read(key, shop, step)
                    told = await oracle.read(key, shop, step)
                    assert comparable(answer) == comparable(told)

    assert at_once.count(True) > 20
