"""The harness of the benchmarks: what its figures mean, and the forms that it writes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.harness import (
    BEAT_SECONDS,
    Bar,
    Figure,
    Finding,
    Heartbeat,
    Rounds,
    Usage,
    at_least,
    at_most,
    calls_per_second,
    in_flight,
    in_fresh_process,
    interleave,
    longest_waits,
    run,
    seconds_of,
    settle_heap,
    table,
)


async def nothing() -> None:
    """A call that is done at once."""


async def test_contestants_take_turns_and_warm_up_rounds_do_not_count() -> None:
    order: list[str] = []

    async def compete(name: str) -> float:
        order.append(name)
        return float(len(order))

    rounds = await interleave(
        {"a": partial(compete, "a"), "b": partial(compete, "b")}, 2, warm_up=1
    )

    assert order == ["a", "b"] * 3
    assert rounds.figures == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_ratio_is_the_median_of_the_rounds_and_not_that_of_the_medians() -> None:
    rounds = Rounds({"ours": [1.0, 8.0, 3.0], "raw": [2.0, 10.0, 30.0]})

    assert rounds.ratio("ours", "raw") == 0.5
    assert rounds.median("ours") == 3.0


def test_rounds_without_a_partner_are_refused() -> None:
    rounds = Rounds({"ours": [1.0, 8.0], "raw": [2.0]})

    with pytest.raises(ValueError, match="zip"):
        rounds.ratio("ours", "raw")


async def test_as_many_calls_are_in_flight_as_there_are_workers() -> None:
    running = 0
    most = 0
    all_here = asyncio.Barrier(4)

    async def call() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await all_here.wait()
        running -= 1

    await in_flight([call] * 12, 4)

    assert most == 4
    assert running == 0


async def test_a_failing_call_ends_the_measurement() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        await in_flight([nothing, fail], 2)

    assert caught.group_contains(LookupError)


async def test_throughput_counts_every_call() -> None:
    made = 0

    async def call() -> None:
        nonlocal made
        made += 1

    began = time.perf_counter()
    throughput = await calls_per_second([call] * 100, 10)
    seconds = time.perf_counter() - began

    assert made == 100
    assert throughput >= 100 / seconds


async def test_the_time_of_a_call_is_measured_to_its_end() -> None:
    async def block() -> None:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass

    assert await seconds_of(block) >= 0.02


async def test_the_longest_wait_is_never_less_than_the_longest_stretch() -> None:
    async def work() -> None:
        for seconds in (0.005, 0.03, 0.005):
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    waits = await longest_waits(work, 3)

    assert waits.worst >= waits.usual >= 0.03


async def test_a_stretch_that_ends_with_the_measurement_counts() -> None:
    with Heartbeat() as heart:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass

    assert heart.longest >= 0.02


async def test_the_heart_stops_in_the_end() -> None:
    with Heartbeat() as heart:
        await asyncio.sleep(0)
    longest = heart.longest
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass
    await asyncio.sleep(3 * BEAT_SECONDS)

    assert heart.longest == longest


def test_usage_sees_descriptors_and_threads() -> None:
    before = Usage.now()
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    reading, writing = os.pipe()
    thread.start()
    try:
        during = Usage.now()
    finally:
        end.set()
        thread.join()
        os.close(reading)
        os.close(writing)

    assert during.descriptors == before.descriptors + 2
    assert during.threads >= before.threads + 1
    assert during.memory > 0


def test_the_highest_usage_takes_each_kind_by_itself() -> None:
    assert Usage(3, 8, 5).highest(Usage(4, 7, 6)) == Usage(4, 8, 6)


def test_a_settled_heap_is_out_of_later_collections() -> None:
    try:
        settle_heap()
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def process_findings(name: str) -> Sequence[Finding]:
    return [Figure(name, float(os.getpid()), "pid")]


def test_a_part_runs_in_a_process_of_its_own() -> None:
    [found] = in_fresh_process(process_findings, "here")

    assert isinstance(found, Figure)
    assert found.name == "here"
    assert found.value != os.getpid()


@pytest.mark.parametrize(("value", "met"), [(49.996, False), (50.0, True), (50.1, True)])
def test_a_lower_bound_is_met_from_the_bound_on(value: float, met: bool) -> None:
    assert at_least("read", 50, value, "%") == Bar("read", ">= 50 %", round(value, 2), met)


@pytest.mark.parametrize(("value", "met"), [(2.9, True), (3.0, True), (3.004, False)])
def test_an_upper_bound_is_met_up_to_the_bound(value: float, met: bool) -> None:
    assert at_most("bulk", 3, value, "times") == Bar("bulk", "<= 3 times", round(value, 2), met)


def test_the_table_shows_bars_first_and_figures_after() -> None:
    text = table(
        [
            Figure("read: raw", 8123.0, "calls/s"),
            at_least("read", 50, 49.4, "%"),
            at_most("bulk", 3, 2.5, "times"),
        ]
    )

    assert text.splitlines() == [
        "bar              target      figure",
        "read             >= 50 %       49.4  NOT MET",
        "bulk             <= 3 times     2.5  met",
        "",
        "for information              figure",
        "read: raw                      8123  calls/s",
    ]


def findings() -> Sequence[Finding]:
    return [at_least("read", 50, 40.0, "%"), Figure("raw", 1.0, "s"), at_most("bulk", 3, 2.0, "x")]


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 1)])
def test_an_unmet_bar_is_reported_and_fails_only_when_strict(
    arguments: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("speed", findings, arguments, folder=tmp_path / "bench") == code

    assert json.loads((tmp_path / "bench" / "speed.json").read_text()) == [
        {"bar": "read", "target": ">= 50 %", "value": 40.0, "met": False},
        {"bar": "bulk", "target": "<= 3 x", "value": 2.0, "met": True},
    ]
    printed = capsys.readouterr().out
    assert "NOT MET" in printed
    assert "1 of 2 bars met" in printed


def test_strict_passes_when_every_bar_is_met(tmp_path: Path) -> None:
    def met() -> Sequence[Finding]:
        return [at_most("bulk", 3, 2.0, "x")]

    assert run("speed", met, ["--strict"], folder=tmp_path) == 0
