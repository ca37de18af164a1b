"""Several processes that put their figures together."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import DEVELOPMENT, HttpServer, serving
from tests.prometheus_lint import parse, value

SECONDS = 20.0


@contextmanager
def worker(folder: Path, name: str) -> Iterator[HttpServer]:
    """A server of its own whose figures go to the directory that all share."""
    own = folder / name
    own.mkdir()
    settings = {
        "DATABASE_URL": f"sqlite:///{own / 'app.db'}",
        "MCP_METRICS_DIRECTORY": str(folder / "metrics"),
    }
    with serving(own, *DEVELOPMENT, settings=settings) as server:
        yield server


def scrape(server: HttpServer) -> dict[str, Any]:
    return parse(httpx.get(f"{server.rest}/metrics", trust_env=False).text)


def create(server: HttpServer, count: int) -> None:
    for number in range(count):
        data = {"data": {"name": f"Company {number}"}}
        answer = httpx.post(f"{server.rest}/tools/Company_create", json=data, trust_env=False)
        assert answer.status_code == 200


def created(families: dict[str, Any]) -> float:
    return value(families, "mcp_tool_calls_total", gen_ai_tool_name="Company_create", outcome="ok")


def seen(server: HttpServer, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first scrape that is right; what others count arrives within about a second."""
    deadline = time.monotonic() + SECONDS
    while not right(families := scrape(server)):
        assert time.monotonic() < deadline
    return families


@pytest.mark.timeout(120)
def test_every_worker_shows_the_sum_and_none_is_forgotten_that_has_died(tmp_path: Path) -> None:
    with ExitStack() as stack:
        second = stack.enter_context(worker(tmp_path, "second"))
        with worker(tmp_path, "first") as first:
            create(first, 3)
            create(second, 2)
            families = seen(second, lambda found: created(found) == 5)
            # Whatever one has shown, the others know at least that from then on.
            assert created(scrape(first)) == 5
            assert value(families, "mcp_server_workers") == 2
            assert value(families, "mcp_rows_written_total") == 5
            pids = {
                sample.labels["pid"] for sample in families["process_resident_memory_bytes"].samples
            }
            assert len(pids) == 2
            body = {"agents": 5}
            told = httpx.post(
                f"{first.rest}/tools/get_server_metrics", json=body, trust_env=False
            ).json()
            assert told["server_metrics"]["workers"] == 2
            assert told["agents"][0]["calls"] == 5
            create(first, 1)
            seen(second, lambda found: created(found) == 6)
            first.process.end(signal.SIGKILL)
        after = seen(second, lambda found: value(found, "mcp_server_workers") == 1)
        assert created(after) == 6
        assert value(after, "mcp_tool_call_duration_seconds_count", part="false") >= 6
        assert len(after["process_resident_memory_bytes"].samples) == 1
        with worker(tmp_path, "third") as third:
            # It has put what the dead one has counted into one file with all that ended before.
            assert (tmp_path / "metrics" / "retired.json").is_file()
            assert created(seen(third, lambda found: created(found) == 6)) == 6
            create(third, 1)
        # One that has stopped in order is over at once.
        last = scrape(second)
        assert created(last) == 7
        assert value(last, "mcp_server_workers") == 1
