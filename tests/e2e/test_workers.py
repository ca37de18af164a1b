"""Several workers behind the same ports: what clients notice when one is replaced, or dies."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import psutil
import pytest

from tests.e2e.load import load_on
from tests.e2e.servers import HttpServer, serving
from tests.prometheus_lint import parse, value

WORKERS = ["--workers", "2", "--no-auth", "--rate-limit-per-minute", "1000000"]
LINE_SECONDS = 45.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """Two workers on SQLite, for all tests of this module."""
    with serving(tmp_path_factory.mktemp("workers"), *WORKERS) as server:
        yield server


def workers_of(server: HttpServer) -> set[int]:
    """The processes that serve."""
    children = psutil.Process(server.process.process.pid).children()
    return {each.pid for each in children if each.status() != psutil.STATUS_ZOMBIE}


def wait_for(server: HttpServer, event: str) -> None:
    server.process.errors.find(rf'"event":"{event}"', LINE_SECONDS)


def stored(server: HttpServer) -> list[str]:
    """The names of all companies in the database."""
    path = server.workdir / ".data" / "kailash.db"
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM companies")]


def created(server: HttpServer) -> float:
    """How many calls created a company, as the metrics of whichever worker answers say."""
    families = parse(httpx.get(f"{server.rest}/metrics", trust_env=False).text)
    return value(families, "mcp_tool_calls_total", gen_ai_tool_name="Company_create", outcome="ok")


def test_no_call_fails_while_all_workers_are_replaced(server: HttpServer) -> None:
    before = workers_of(server)
    with load_on(server.mcp, server.rest) as load:
        load.wait_for_calls(50)
        server.process.process.send_signal(signal.SIGHUP)
        wait_for(server, "workers_replaced")
        load.wait_for_calls(50)

    assert load.failures == []
    assert sorted(stored(server)) == sorted(load.acknowledged)
    after = workers_of(server)
    assert len(after) == 2
    assert not after & before
    until = time.monotonic() + LINE_SECONDS
    # What the other worker has counted may be a second old.
    while created(server) != len(load.acknowledged):
        assert time.monotonic() < until


def test_only_its_running_calls_fail_when_a_worker_is_killed(server: HttpServer) -> None:
    before = workers_of(server)
    with load_on(server.mcp, server.rest, official=False) as load:
        load.wait_for_calls(50)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        wait_for(server, "worker_died")
        wait_for(server, "serving")
        load.wait_for_calls(50)

    # One at most of each client, and that one because its connection broke.
    assert len(load.failures) <= 6
    assert all("Error(" in reason for _, reason in load.failures), load.failures
    assert len({name.rpartition(" ")[0] for name, _ in load.failures}) == len(load.failures)
    made = [name for name in stored(server) if name.startswith(load.tag)]
    unknown = {name for name, _ in load.failures}
    assert len(made) == len(set(made))
    assert set(load.acknowledged) <= set(made) <= set(load.acknowledged) | unknown
    after = workers_of(server)
    assert killed not in after
    assert before - {killed} < after


def test_health_says_which_worker_answers(server: HttpServer) -> None:
    pids = set()
    until = time.monotonic() + LINE_SECONDS
    while pids != workers_of(server):
        assert time.monotonic() < until
        health = httpx.get(f"{server.rest}/health", trust_env=False).json()
        component = health["components"]["worker"]
        assert component["workers"] == 2
        pids.add(component["pid"])


def test_workers_end_when_their_supervisor_is_killed(server: HttpServer) -> None:
    """The last one here, for it ends the server of this module."""
    workers = [psutil.Process(pid) for pid in workers_of(server)]

    assert server.process.end(signal.SIGKILL) == -signal.SIGKILL

    psutil.wait_procs(workers, LINE_SECONDS)
    for port in server.ports:
        socket.create_server(("127.0.0.1", port)).close()
    assert '"supervisor_gone"' in server.process.errors.finish()
