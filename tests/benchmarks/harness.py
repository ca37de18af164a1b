"""What every benchmark is made of: paired rounds, bars, and one form of report.

A benchmark measures in parts, each in a fresh process, and a part returns findings: bars that
have a target, and figures that stand beside them as information. `run` prints them as a table and
writes the bars to `build/bench/<name>.json`, and beside them what `report` needs.

Garbage is collected before each timed stretch and never turned off within one. What is on the heap
before the measurements (DataFlow and its libraries, some hundred thousand objects) is frozen by
`settle_heap`, so that whoever happens to start a full collection does not pay for all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import psutil

Call = Callable[[], Awaitable[Any]]

BEAT_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to reach a target."""

    bar: str
    target: str
    value: float
    met: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is given as information."""

    name: str
    value: float
    unit: str


Finding = Bar | Figure


def at_least(bar: str, target: float, value: float, unit: str) -> Bar:
    """A bar that is met by `target` and more."""
    return Bar(bar, f">= {target:g} {unit}", round(value, 2), value >= target)


def at_most(bar: str, target: float, value: float, unit: str) -> Bar:
    """A bar that is met by `target` and less."""
    return Bar(bar, f"<= {target:g} {unit}", round(value, 2), value <= target)


@dataclass(frozen=True, slots=True)
class Rounds:
    """The figures of contestants that ran in turn; those of one round belong together."""

    figures: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """A contestant's median."""
        return median(self.figures[name])

    def ratio(self, name: str, baseline: str) -> float:
        """The median of a contestant's figures, each as a multiple of the baseline's."""
        pairs = zip(self.figures[name], self.figures[baseline], strict=True)
        return median(figure / base for figure, base in pairs)


async def interleave(
    contestants: Mapping[str, Callable[[], Awaitable[float]]], rounds: int, *, warm_up: int = 1
) -> Rounds:
    """Runs the contestants in turn (A B C A B C ...), some rounds of it to warm up.

    Args:
        contestants: By name, what runs once and returns its figure.
        rounds: How many rounds count.
        warm_up: How many rounds before them do not.
    """
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(warm_up + rounds):
        for name, run in contestants.items():
            gc.collect()
            figure = await run()
            if number >= warm_up:
                figures[name].append(figure)
    return Rounds(figures)


async def seconds_of(call: Call) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def in_flight(calls: Iterable[Call], workers: int) -> None:
    """Makes all calls, as many at once as there are workers."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


async def calls_per_second(calls: Sequence[Call], workers: int) -> float:
    """The throughput of all calls, as many at once as there are workers."""
    return len(calls) / await seconds_of(lambda: in_flight(calls, workers))


class Heartbeat:
    """Measures for how long other tasks of the running event loop had to wait.

    A callback asks to be run every millisecond; the longest time between two runs is the figure,
    with nothing subtracted. So it is never less than the longest stretch of work on the loop, and
    up to two milliseconds more. It also sees what timing each callback would not: waits for the
    interpreter lock while a thread holds it.

    Example:
        ```python
        with Heartbeat() as heart:
            await call()
        print(heart.longest)
        ```
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = 0.0
        self._next: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._last = time.perf_counter()
        self._next = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._note()
        if self._next is not None:
            self._next.cancel()

    def _beat(self) -> None:
        self._note()
        self._next = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _note(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now


@dataclass(frozen=True, slots=True)
class Waits:
    """The longest time in seconds that other tasks waited in each of several runs of a call."""

    longest: Sequence[float]

    @property
    def usual(self) -> float:
        """The median run's: work that holds the loop does so in every run."""
        return median(self.longest)

    @property
    def worst(self) -> float:
        """The worst run's, with what else the machine did at that moment."""
        return max(self.longest)


async def longest_waits(call: Call, times: int) -> Waits:
    """How long other tasks waited while a call ran, in each of several runs."""
    longest = []
    for _ in range(times):
        gc.collect()
        with Heartbeat() as heart:
            await call()
        longest.append(heart.longest)
    return Waits(longest)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process holds: open descriptors, threads, and resident memory in bytes."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def now(cls) -> Usage:
        """That of this moment."""
        process = psutil.Process()
        with process.oneshot():
            return cls(process.num_fds(), process.num_threads(), process.memory_info().rss)

    def highest(self, other: Usage) -> Usage:
        """The higher of each."""
        return Usage(
            max(self.descriptors, other.descriptors),
            max(self.threads, other.threads),
            max(self.memory, other.memory),
        )


def settle_heap() -> None:
    """Takes what lives now out of later collections."""
    gc.collect()
    gc.freeze()


def in_fresh_process(part: Callable[..., Sequence[Finding]], *arguments: Any) -> Sequence[Finding]:
    """Runs a part of a benchmark, a module's function, in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(part, *arguments).result()


def table(findings: Iterable[Finding]) -> str:
    """The bars, and then the other figures, for people to read."""
    found = list(findings)
    bars = [each for each in found if isinstance(each, Bar)]
    figures = [each for each in found if isinstance(each, Figure)]
    lines = [("bar", "target", "figure", "")]
    lines += [(b.bar, b.target, f"{b.value:g}", "met" if b.met else "NOT MET") for b in bars]
    if figures:
        lines += [("", "", "", ""), ("for information", "", "figure", "")]
        lines += [(each.name, "", f"{each.value:.4g}", each.unit) for each in figures]
    return "\n".join(_aligned(lines))


def _aligned(lines: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    name, target, figure = (max(len(line[column]) for line in lines) for column in range(3))
    for line in lines:
        text = f"{line[0]:<{name}}  {line[1]:<{target}}  {line[2]:>{figure}}  {line[3]}"
        yield text.rstrip()


def write_bars(findings: Iterable[Finding], path: Path) -> None:
    """Writes the bars as a JSON list of `{bar, target, value, met}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bars = [asdict(each) for each in findings if isinstance(each, Bar)]
    path.write_text(json.dumps(bars, indent=2) + "\n")


def write_run(findings: Iterable[Finding], seconds: float, path: Path) -> None:
    """Writes when, where and on what the figures were measured, and those that have no target."""
    about = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _git("rev-parse", "--short=10", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "seconds": round(seconds),
        "python": platform.python_version(),
        "machine": machine(),
        "figures": [asdict(each) for each in findings if isinstance(each, Figure)],
    }
    path.write_text(json.dumps(about, indent=2) + "\n")


def machine() -> str:
    """The processor and the system of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}, {platform.system()}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def run(
    name: str,
    measure: Callable[[], Iterable[Finding]],
    arguments: Sequence[str] | None = None,
    *,
    folder: Path = Path("build/bench"),
) -> int:
    """A benchmark's command: measures, prints the table and writes the bars.

    Args:
        name: Of the benchmark.
        measure: Gives the findings.
        arguments: Of the command line; those of the process when absent. With `--strict`, a bar
            that is not met is a failure.
        folder: Where the bars are written.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog=f"make bench NAME={name}")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is not met")
    strict = parser.parse_args(arguments).strict
    began = time.perf_counter()
    findings = list(measure())
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{table(findings)}\n")
    path = folder / f"{name}.json"
    write_bars(findings, path)
    write_run(findings, seconds, path.with_suffix(".run.json"))
    unmet = [each for each in findings if isinstance(each, Bar) and not each.met]
    bars = sum(isinstance(each, Bar) for each in findings)
    sys.stdout.write(f"\n{bars - len(unmet)} of {bars} bars met; written to {path}\n")
    return 1 if strict and unmet else 0
