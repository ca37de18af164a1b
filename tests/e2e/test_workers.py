"""Several workers behind the same ports: what clients notice when one is replaced, or dies."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from kailash_mcp_prod.workers.child import Child
from kailash_mcp_prod.workers.orders import Assignment
from tests.e2e.exchanges import BOTH, INITIALIZE, request
from tests.e2e.load import load_on
from tests.e2e.servers import ONE_MODEL, ROOT, HttpServer, environment, forked, serving
from tests.e2e.snippets import only, snippets
from tests.prometheus_lint import parse, value

# Ten processes are started here, one or two at a time, on a machine that may be busy.
pytestmark = pytest.mark.timeout(240)
LINE_SECONDS = 90.0
MODELS = ONE_MODEL[1]
SETTINGS = {
    "enable_auth": False,
    "rate_limit_per_minute": 1_000_000,
    "models": MODELS,
    # Long enough for a worker that gets no turn on a busy machine.
    "worker_timeout_seconds": 12,
}
PAGE = ROOT / "docs" / "deployment.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """Two workers on SQLite, for all tests of this module; the last one ends it."""
    workdir = tmp_path_factory.mktemp("workers")
    (workdir / "settings.json").write_text(json.dumps(SETTINGS))
    serve = shlex.split(only(snippets(PAGE, "sh"), "kailash-mcp-prod serve"))
    with serving(workdir, *serve[2:], "--log-file", "all.log") as server:
        yield server


def workers_of(server: HttpServer) -> set[int]:
    """The processes that serve."""
    children = psutil.Process(server.process.process.pid).children()
    return {each.pid for each in children if each.status() != psutil.STATUS_ZOMBIE}


def wait_for(server: HttpServer, event: str) -> str:
    """The line of the log that tells of an event, once it is there."""
    return server.process.errors.find(rf'.*"event":"{event}".*', LINE_SECONDS)[0]


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


def test_every_worker_knows_the_sessions_of_the_others(server: HttpServer) -> None:
    sessions = [new_session(server) for _ in range(4)]
    for session in sessions:
        # Each on a new connection, which any worker may take.
        assert {ping(server, session) for _ in range(4)} == {200}
        assert httpx.delete(server.mcp, headers=session, trust_env=False).status_code == 204
        assert {ping(server, session) for _ in range(4)} == {404}


def new_session(server: HttpServer) -> dict[str, str]:
    """The headers of a new session of the old era."""
    headers = {"accept": BOTH}
    message = request(0, "initialize", **INITIALIZE)
    answer = httpx.post(server.mcp, json=message, headers=headers, trust_env=False)
    return {**headers, "mcp-session-id": answer.headers["mcp-session-id"]}


def ping(server: HttpServer, session: dict[str, str]) -> int:
    """The status of a request in a session, on a connection of its own."""
    answer = httpx.post(server.mcp, json=request(1, "ping"), headers=session, trust_env=False)
    return answer.status_code


def test_workers_stay_if_those_that_should_replace_them_do_not_start(server: HttpServer) -> None:
    before = workers_of(server)
    settings = server.workdir / "settings.json"
    settings.write_text(json.dumps({**SETTINGS, "cash_ttl_seconds": 1}))
    server.process.process.send_signal(signal.SIGHUP)
    line = wait_for(server, "workers_not_replaced")

    assert "Unknown configuration key 'cash_ttl_seconds'" in line
    assert workers_of(server) == before
    assert httpx.get(f"{server.rest}/health/ready", trust_env=False).status_code == 200


def test_replacing_begins_anew_when_what_kept_it_from_ending_is_mended(server: HttpServer) -> None:
    before = workers_of(server)
    settings = server.workdir / "settings.json"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LINE_SECONDS)
        address = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        settings.write_text(json.dumps({**SETTINGS, "database_url": address, "wait_for_db": 600}))
        server.process.process.send_signal(signal.SIGHUP)
        with silent.accept()[0]:
            assert before < workers_of(server)
            settings.write_text(json.dumps(SETTINGS))
            server.process.process.send_signal(signal.SIGHUP)
            assert "SIGHUP came before" in wait_for(server, "workers_not_replaced")
    wait_for(server, "workers_replaced")

    after = workers_of(server)
    assert len(after) == 2
    assert not after & before


def test_a_worker_that_keeps_dying_young_is_restarted_ever_later(server: HttpServer) -> None:
    """Each time as soon as it serves, while the other one answers."""
    pauses = []
    survivor = max(workers_of(server))
    for _ in range(3):
        victim = (workers_of(server) - {survivor}).pop()
        os.kill(victim, signal.SIGKILL)
        pauses.append(json.loads(wait_for(server, "worker_died"))["next_try_seconds"])
        assert httpx.get(f"{server.rest}/health/ready", trust_env=False).status_code == 200
        wait_for(server, "serving")

    assert pauses[1] > 0
    assert pauses[2] == 2 * pauses[1]
    assert survivor in workers_of(server)


def test_a_worker_that_hangs_is_ended_and_another_one_started(server: HttpServer) -> None:
    before = workers_of(server)
    hanging = min(before)
    os.kill(hanging, signal.SIGSTOP)

    line = json.loads(wait_for(server, "worker_hangs"))
    assert (line["hanging_pid"], line["silent_seconds"]) == (hanging, 12)
    died = json.loads(wait_for(server, "worker_died"))
    assert (died["dead_pid"], died["code"]) == (hanging, -signal.SIGKILL)
    # Connections come to the other one alone meanwhile.
    assert httpx.get(f"{server.rest}/health/ready", trust_env=False).status_code == 200
    wait_for(server, "serving")
    after = workers_of(server)
    assert hanging not in after
    assert before - {hanging} < after


def test_a_running_call_finishes_before_all_workers_end(server: HttpServer) -> None:
    """The last one here, for it ends the server of this module."""
    url, data = f"{server.rest}/tools/Company_create", {"data": {"name": "Late"}}
    with ThreadPoolExecutor(1) as pool:
        with server.writes_held_up():
            call = pool.submit(httpx.post, url, json=data, timeout=20, trust_env=False)
            while not running_calls(server):
                pass
            server.process.process.send_signal(signal.SIGTERM)
            wait_for(server, "workers_end")
        assert call.result().status_code == 200
    assert server.process.process.wait(20) == 0

    for port in server.ports:
        socket.create_server(("127.0.0.1", port)).close()
    lines = [json.loads(line) for line in (server.workdir / "all.log").read_text().splitlines()]
    assert len({line["pid"] for line in lines if line["event"] == "serving"}) == 11
    # None of those that were loaded, replaced or left alone was taken for one that hangs.
    assert sum(line["event"] == "worker_hangs" for line in lines) == 1
    assert "Traceback" not in server.process.errors.finish()


def running_calls(server: HttpServer) -> int:
    """How many calls run at the worker that answers."""
    health = httpx.get(f"{server.rest}/health", trust_env=False).json()
    running: int = health["components"]["concurrency"]["running"]
    return running


async def test_a_worker_ends_when_its_supervisor_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, setting in environment().items():
        monkeypatch.setenv(name, setting)
    directory = tmp_path / "run"
    directory.mkdir()
    child = await Child.start(
        Assignment(
            flags={"enable_auth": False, "models": MODELS},
            config_file=None,
            secret=b"s" * 32,
            directory=str(directory),
            slot=0,
            count=2,
            ports=(4711, 4712),
        )
    )
    report = await child.ready()
    assert report.urls["REST"] == "http://127.0.0.1:4712"

    child._writer.close()

    assert await child.wait() == 0
    assert not directory.exists()


def test_a_worker_that_does_not_start_ends_everything(tmp_path: Path) -> None:
    flags = ["--port", "0", "--no-auth", "--workers", "2", "--models", "nowhere:db"]
    with forked(tmp_path, *flags) as process:
        assert process.process.wait(LINE_SECONDS) == 2
        told = process.errors.finish()
    assert told.count("Error: There is no module 'nowhere'") == 1
    assert "Warning: without redis_url each of the 2 workers has rate limits" in told
    assert "Traceback" not in told
