"""What was sent is kept for a client that comes back."""

from __future__ import annotations

import asyncio

import pytest

from kailash_mcp_prod.transports.event_log import (
    MAX_BYTES,
    MAX_EVENTS,
    MAX_LOGS,
    EventLog,
    EventLogs,
)


async def followed(log: EventLog, after: int) -> list[tuple[int, bytes]]:
    return [event async for event in log.follow(after)]


async def test_who_follows_gets_what_was_and_what_comes() -> None:
    log = EventLog("1", carries_answer=True)
    log.append(b"a")
    following = asyncio.create_task(followed(log, 0))
    await asyncio.sleep(0)
    log.append(b"b")
    log.end()

    assert await following == [(1, b"a"), (2, b"b")]
    assert await followed(log, 1) == [(2, b"b")]
    assert await followed(log, 99) == []


async def test_a_pause_lets_those_go_who_follow_now() -> None:
    log = EventLog("1", carries_answer=True)
    following = asyncio.create_task(followed(log, 0))
    await asyncio.sleep(0)
    log.append(b"a")
    log.pause()
    assert await following == [(1, b"a")]

    log.resume()
    again = asyncio.create_task(followed(log, 1))
    await asyncio.sleep(0)
    log.append(b"b")
    log.end()
    assert await again == [(2, b"b")]


async def test_the_oldest_events_are_forgotten() -> None:
    log = EventLog("1", carries_answer=True)
    for _ in range(MAX_EVENTS + 5):
        log.append(b"x")
    log.end()
    kept = await followed(log, 0)
    assert [kept[0][0], kept[-1][0], len(kept)] == [6, MAX_EVENTS + 5, MAX_EVENTS]

    large = EventLog("2", carries_answer=True)
    for _ in range(3):
        large.append(b"x" * (MAX_BYTES - 1))
    large.end()
    assert [position for position, _ in await followed(large, 0)] == [3]


def test_logs_are_found_by_the_ids_of_their_events() -> None:
    logs = EventLogs()
    log = logs.new(carries_answer=True)
    position = log.append(b"a")

    assert logs.find(log.event_id(position)) == (log, 1)
    assert logs.find(log.event_id(0)) == (log, 0)


@pytest.mark.parametrize("event_id", ["", "-", "1-", "1-x", "2-1", "1--1", "1-²", "1-" + "9" * 99])
def test_a_strange_id_finds_nothing(event_id: str) -> None:
    logs = EventLogs()
    logs.new(carries_answer=True)

    assert logs.find(event_id) is None


def test_logs_that_have_ended_are_forgotten_before_all() -> None:
    logs = EventLogs()
    first = logs.new(carries_answer=True)
    second = logs.new(carries_answer=True)
    second.end()
    for _ in range(MAX_LOGS - 1):
        logs.new(carries_answer=True)

    assert len(logs) == MAX_LOGS
    assert logs.find(first.event_id(0)) is not None
    assert logs.find(second.event_id(0)) is None


async def test_an_event_larger_than_all_may_be_is_for_who_follows_and_then_gone() -> None:
    large = b"x" * (MAX_BYTES + 1)
    log = EventLog("1", carries_answer=True)
    following = asyncio.create_task(followed(log, 0))
    await asyncio.sleep(0)
    log.append(large)
    log.end()
    assert await following == [(1, large)]
    assert await followed(log, 0) == []

    lost = EventLog("2", carries_answer=True)
    lost.append(large)
    lost.end()
    assert await followed(lost, 0) == []


async def test_who_follows_now_takes_the_place_of_who_did() -> None:
    log = EventLog("1", carries_answer=True)
    log.append(b"a")
    older = asyncio.create_task(followed(log, 0))
    await asyncio.sleep(0)
    newer = asyncio.create_task(followed(log, 0))
    await asyncio.sleep(0)

    assert await older == [(1, b"a")]
    large = b"x" * (MAX_BYTES + 1)
    log.append(large)
    log.end()
    assert await newer == [(1, b"a"), (2, large)]
