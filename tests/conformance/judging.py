"""All judges at work, some at once, each in a process and before a fixture server of its own."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.conformance.clients import judge_with_clients
from tests.conformance.report import Report
from tests.conformance.suites import Suite, fixture_server, judge

# For much of its time each judge waits for what it has asked the server to take long for.
_AT_ONCE = 3


def verdicts(judges: Sequence[Suite | None], node: Path) -> Iterator[Report]:
    """What the judges say, in their order; `None` is the clients. SIGTERM ends all of them.

    Args:
        judges: Who judges.
        node: The Node.js that they run on.
    """
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(_AT_ONCE, spawning, stop_when_told)
    try:
        for reports in pool.map(partial(_judged, node=node), judges):
            yield from reports
    finally:
        pool.shutdown(cancel_futures=True)


def stop_when_told() -> None:
    """Makes SIGTERM an exception, here and in who works for us, so that servers are stopped."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(*_: object) -> None:
    for child in multiprocessing.active_children():
        child.terminate()
    sys.exit(128 + signal.SIGTERM)


def _judged(suite: Suite | None, node: Path) -> list[Report]:
    with fixture_server() as url:
        return [judge(suite, node, url)] if suite else list(judge_with_clients(node, url))
