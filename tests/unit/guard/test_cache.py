from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.errors import NotFoundError, UnavailableError
from kailash_mcp_prod.guard.cache import MAX_VALUE_BYTES, ReadCache
from kailash_mcp_prod.guard.cache_entries import Key
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.compression import Compression

KEY: Key = ("Company_read", "someone", b'{"id":"c1"}')


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What a read would ask; it answers when it is let."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = {"name": "Acme"} if answer is None else answer
        self.asked = 0
        self.begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        answer = self.answer
        self.begun.set()
        await self.may_answer.wait()
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes(clock: Clock) -> Changes:
    return Changes(doubt_seconds=60, clock=clock)


@pytest.fixture
def cache(changes: Changes, clock: Clock) -> ReadCache:
    return ReadCache(
        changes, max_bytes=10_000_000, ttl_seconds=300, compression=Compression(), clock=clock
    )


async def read(cache: ReadCache, source: Source, key: Key = KEY) -> dict[str, Any]:
    return await cache.read(key, "companies", source)


async def test_a_read_is_answered_again_without_being_asked(cache: ReadCache) -> None:
    source = Source()

    assert [await read(cache, source) for _ in range(3)] == [{"name": "Acme"}] * 3
    assert source.asked == 1
    snapshot = cache.snapshot()
    assert (snapshot.hits, snapshot.misses, snapshot.entries) == (2, 1, 1)
    assert snapshot.hit_ratio == 2 / 3


async def test_a_result_belongs_to_its_reader(cache: ReadCache) -> None:
    source = Source({"tags": ["a"]})
    for _ in range(3):
        result = await read(cache, source)
        assert result == {"tags": ["a"]}
        result["tags"].append("mine")


async def test_other_arguments_callers_and_tools_are_other_reads(cache: ReadCache) -> None:
    source = Source()
    for place in range(3):
        key = [*KEY]
        key[place] = b"other" if place == 2 else "other"
        await read(cache, source, tuple(key))  # type: ignore[arg-type]
    await read(cache, source)

    assert source.asked == cache.snapshot().misses == cache.snapshot().entries == 4


async def test_a_result_is_used_for_its_time_only(cache: ReadCache, clock: Clock) -> None:
    source = Source()
    await read(cache, source)
    clock.now = 299.9
    await read(cache, source)
    assert source.asked == 1

    clock.now = 300
    await read(cache, source)
    assert source.asked == 2


async def test_a_write_takes_effect_at_once(cache: ReadCache, changes: Changes) -> None:
    source = Source()
    await read(cache, source)
    async with changes.writing("companies"):
        source.answer = {"name": "New"}

    assert await read(cache, source) == {"name": "New"}


async def test_a_write_of_another_table_leaves_it(cache: ReadCache, changes: Changes) -> None:
    source = Source()
    await read(cache, source)
    async with changes.writing("contacts"):
        pass
    await read(cache, source)

    assert source.asked == 1


async def test_a_write_reaches_the_tables_that_the_database_changes_with_it(
    cache: ReadCache, changes: Changes
) -> None:
    changes.learn({"owners": frozenset({"owners", "companies"})})
    source = Source()
    await read(cache, source)
    async with changes.writing("owners"):
        pass
    await read(cache, source)

    assert source.asked == 2


async def test_a_read_that_began_before_a_write_ended_is_not_kept(
    cache: ReadCache, changes: Changes
) -> None:
    source = Source({"name": "Old"})
    source.may_answer.clear()
    async with changes.writing("companies"):
        early = asyncio.create_task(read(cache, source))
        await source.begun.wait()
    source.may_answer.set()

    assert await early == {"name": "Old"}
    source.answer = {"name": "New"}
    assert await read(cache, source) == {"name": "New"}


async def test_nobody_joins_a_read_that_began_before_a_write(
    cache: ReadCache, changes: Changes
) -> None:
    old, new = Source({"name": "Old"}), Source({"name": "New"})
    old.may_answer.clear()
    early = asyncio.create_task(read(cache, old))
    await old.begun.wait()
    async with changes.writing("companies"):
        pass

    assert await read(cache, new) == {"name": "New"}
    old.may_answer.set()
    await early
    assert await read(cache, new) == {"name": "New"}


@pytest.mark.parametrize("failure", [NotFoundError("no"), ValueError("a defect")])
async def test_a_write_that_failed_may_have_changed_something(
    cache: ReadCache, changes: Changes, failure: Exception
) -> None:
    source = Source()
    await read(cache, source)
    with pytest.raises(type(failure)):
        async with changes.writing("companies"):
            raise failure
    await read(cache, source)

    assert source.asked == 2


@pytest.mark.parametrize(
    "failure",
    [UnavailableError("lost", details={"outcome": "unknown"}), asyncio.CancelledError()],
)
async def test_nothing_is_kept_while_a_write_may_still_be_stored(
    cache: ReadCache, changes: Changes, clock: Clock, failure: BaseException
) -> None:
    source = Source()
    with pytest.raises(type(failure)):
        async with changes.writing("companies"):
            raise failure
    await read(cache, source)
    await read(cache, source)
    assert source.asked == 2
    assert cache.snapshot().bypassed == 2

    clock.now = 60
    await read(cache, source)
    await read(cache, source)
    assert source.asked == 3


async def test_one_reads_and_the_others_wait(cache: ReadCache) -> None:
    source = Source()
    source.may_answer.clear()
    readers = [asyncio.create_task(read(cache, source)) for _ in range(10)]
    await source.begun.wait()
    source.may_answer.set()
    results = await asyncio.gather(*readers)

    assert results == [{"name": "Acme"}] * 10
    assert source.asked == 1
    assert cache.snapshot().shared == 9
    assert len({id(each) for each in results}) == 10


async def test_a_reader_that_is_stopped_fails_nobody_else(cache: ReadCache) -> None:
    source = Source()
    source.may_answer.clear()
    first = asyncio.create_task(read(cache, source))
    await source.begun.wait()
    others = [asyncio.create_task(read(cache, source)) for _ in range(3)]
    await asyncio.sleep(0)
    source.begun.clear()
    first.cancel()
    await source.begun.wait()
    source.may_answer.set()

    assert await asyncio.gather(*others) == [{"name": "Acme"}] * 3
    assert first.cancelled()
    assert source.asked == 2


async def test_one_who_waits_may_leave(cache: ReadCache) -> None:
    source = Source()
    source.may_answer.clear()
    readers = [asyncio.create_task(read(cache, source)) for _ in range(3)]
    await source.begun.wait()
    readers[1].cancel()
    await asyncio.wait({readers[1]})
    source.may_answer.set()

    assert await readers[0] == await readers[2] == {"name": "Acme"}


async def test_a_failure_is_told_to_all_who_wait_and_not_kept(cache: ReadCache) -> None:
    source = Source(NotFoundError("gone", field="id"))
    source.may_answer.clear()
    readers = [asyncio.create_task(read(cache, source)) for _ in range(4)]
    await source.begun.wait()
    source.may_answer.set()
    failures = await asyncio.gather(*readers, return_exceptions=True)

    assert [str(each) for each in failures] == ["gone"] * 4
    assert len({id(each) for each in failures}) == 4
    assert source.asked == 1
    source.answer = {"name": "Back"}
    assert await read(cache, source) == {"name": "Back"}


async def test_a_defect_is_met_by_each_for_himself(cache: ReadCache) -> None:
    source = Source(ValueError("a defect"))
    source.may_answer.clear()
    readers = [asyncio.create_task(read(cache, source)) for _ in range(3)]
    await source.begun.wait()
    source.may_answer.set()

    failures = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(each) for each in failures] == [ValueError] * 3


@pytest.mark.parametrize("length", [10, 5_000, 100_000])
async def test_large_results_take_less_room(cache: ReadCache, length: int) -> None:
    source = Source({"text": "long " * (length // 5)})
    first = await read(cache, source)

    assert await read(cache, source) == first
    assert source.asked == 1
    assert cache.snapshot().bytes < 3_000


async def test_the_figures_tell_what_is_held_before_and_after_compression(
    changes: Changes, clock: Clock
) -> None:
    cache = ReadCache(
        changes, max_bytes=8_000, ttl_seconds=300, compression=Compression(), clock=clock
    )
    assert cache.snapshot().hit_ratio == 0
    await read(cache, Source({"text": "long " * 1_000}))
    assert cache.snapshot().plain_bytes == len('{"text":""}') + 5_000
    for number in range(10):
        await read(cache, Source({"text": "x" * 300}), (*KEY[:2], b"%d" % number))

    snapshot = cache.snapshot()
    plain = len('{"text":""}') + 300
    assert snapshot.evictions == 11 - snapshot.entries > 0
    assert snapshot.stored_bytes == snapshot.plain_bytes == plain * snapshot.entries


async def test_what_can_not_be_compressed_is_kept_as_it_is(cache: ReadCache) -> None:
    text = "".join(chr(0x4E00 + (number * 7919 * number) % 20_000) for number in range(3000))
    source = Source({"text": text})
    await read(cache, source)

    assert (await read(cache, source))["text"] == text


async def test_the_largest_result_that_is_kept_is_as_large_as_is_said(cache: ReadCache) -> None:
    source = Source({"value": "x" * (MAX_VALUE_BYTES - len('{"value":""}'))})
    await read(cache, source)
    await read(cache, source)

    assert source.asked == 1


@pytest.mark.parametrize("value", ["x" * MAX_VALUE_BYTES, 10**5000], ids=["long", "huge"])
async def test_what_is_too_large_is_asked_each_time(cache: ReadCache, value: Any) -> None:
    source = Source({"value": value})

    assert (await read(cache, source)) == (await read(cache, source)) == {"value": value}
    assert source.asked == 2


async def test_what_is_here_is_known_without_waiting(cache: ReadCache) -> None:
    assert cache.known(KEY, "companies", 1000) is None
    await read(cache, Source())
    known = cache.known(KEY, "companies", 1000)

    assert known == b'{"name":"Acme"}'
    assert cache.known(KEY, "companies", 1000) is known
    assert cache.snapshot().hits == 2


async def test_what_is_known_may_have_a_length_and_no_more(cache: ReadCache) -> None:
    await read(cache, Source())
    length = len(b'{"name":"Acme"}')

    assert cache.known(KEY, "companies", length) is not None
    assert cache.known(KEY, "companies", length - 1) is None
    assert cache.snapshot().hits == 1


async def test_what_is_compressed_is_not_known_without_waiting(cache: ReadCache) -> None:
    await read(cache, Source({"name": "Acme" * 3000}))

    assert cache.known(KEY, "companies", 100_000) is None
    assert cache.snapshot().hits == 0


async def test_what_was_written_or_is_too_old_is_not_known(
    cache: ReadCache, changes: Changes, clock: Clock
) -> None:
    await read(cache, Source())
    async with changes.writing("companies"):
        assert cache.known(KEY, "companies", 1000) is None
    await read(cache, Source())
    clock.now = 299.0
    assert cache.known(KEY, "companies", 1000) is not None
    clock.now = 300.0
    assert cache.known(KEY, "companies", 1000) is None
