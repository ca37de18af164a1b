from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from kailash_mcp_prod.observe import health
from kailash_mcp_prod.observe.health import CachedCheck, Check, Health

GOOD, BAD, POOR = {"status": "healthy"}, {"status": "unhealthy"}, {"status": "degraded"}


def always(state: Mapping[str, Any] | None) -> Check:
    async def check() -> Mapping[str, Any] | None:
        return state

    return check


@pytest.mark.parametrize(
    ("database", "redis", "limits", "draining", "status"),
    [
        (GOOD, GOOD, GOOD, False, "healthy"),
        (POOR, GOOD, GOOD, False, "degraded"),
        (GOOD, BAD, GOOD, False, "degraded"),
        (GOOD, GOOD, POOR, False, "degraded"),
        (BAD, GOOD, GOOD, False, "unhealthy"),
        (BAD, BAD, BAD, False, "unhealthy"),
        (GOOD, GOOD, GOOD, True, "draining"),
        (BAD, BAD, GOOD, True, "draining"),
    ],
)
async def test_what_the_server_can_do_without_only_degrades_it(
    database: Any, redis: Any, limits: Any, draining: bool, status: str
) -> None:
    found = Health(
        {"database": always(database)},
        {"redis": always(redis), "disk": always(None)},
        lambda: {"rate_limits": limits},
        lambda: draining,
    )

    components = {"database": database, "redis": redis, "rate_limits": limits}
    assert await found.report() == {"health_status": status, "components": components}
    ready = await found.ready()
    assert ready["components"] == {"database": database}
    assert (ready["health_status"] in {"healthy", "degraded"}) == (
        database is not BAD and not draining
    )


async def test_the_brief_report_has_words_of_status_alone() -> None:
    told = {"status": "healthy", "place": "inside", "seconds": 3}
    found = Health({"database": always(told)}, {}, lambda: {"pool": told}, lambda: False)

    assert (await found.report())["components"]["pool"] == told
    assert await found.brief() == {
        "health_status": "healthy",
        "components": {"database": GOOD, "pool": GOOD},
    }


async def test_all_who_ask_at_once_get_one_answer_that_holds_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, asked, answer = 100.0, 0, asyncio.Event()
    monkeypatch.setattr(health.time, "monotonic", lambda: now)

    async def count() -> Mapping[str, Any]:
        nonlocal asked
        asked += 1
        await answer.wait()
        return {"status": "healthy", "number": asked}

    check = CachedCheck("counted", count, seconds=5)
    askers = [asyncio.ensure_future(check.state()) for _ in range(10)]
    await asyncio.sleep(0)
    # One who gives up takes nobody else's answer away.
    askers.pop().cancel()
    answer.set()
    assert await asyncio.gather(*askers) == [{"status": "healthy", "number": 1}] * 9
    now += 0.999
    assert (await check.state() or {})["number"] == 1
    now += 0.001
    assert (await check.state() or {})["number"] == 2


async def test_components_are_asked_in_parallel_and_each_has_its_own_time() -> None:
    both = asyncio.Barrier(2)

    async def meet() -> Mapping[str, Any]:
        await both.wait()
        return GOOD

    async def hang() -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return GOOD

    found = Health({"a": meet, "b": meet}, {}, dict, lambda: False)
    assert (await found.report())["health_status"] == "healthy"
    late = await CachedCheck("late", hang, seconds=0.01).state()
    assert late == {"status": "unhealthy", "reason": "It does not answer in time."}


async def test_a_check_that_breaks_is_one_component_and_says_nothing_of_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> Mapping[str, Any]:
        raise LookupError("the server inside refuses")

    found = Health({"database": always(GOOD)}, {"redis": broken}, dict, lambda: False)
    report = await found.report()

    assert report["health_status"] == "degraded"
    assert report["components"]["database"] == GOOD
    assert report["components"]["redis"]["status"] == "unhealthy"
    assert "inside" not in str(report)
    assert "health_check_broke" in caplog.text


async def test_stopping_ends_a_check_that_hangs_and_the_next_asks_anew() -> None:
    hanging = asyncio.Event()
    answers: list[Mapping[str, Any]] = []

    async def check() -> Mapping[str, Any]:
        if not answers:
            hanging.set()
            await asyncio.Event().wait()
        return answers[0]

    found = Health({"database": check}, {}, dict, lambda: False)
    asking = asyncio.ensure_future(found.report())
    await hanging.wait()
    await found.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking
    answers.append(GOOD)
    assert (await found.report())["health_status"] == "healthy"
