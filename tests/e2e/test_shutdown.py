from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.exchanges import LegacyHttp, ModernHttp, Stdio
from tests.e2e.servers import ONE_MODEL, STDIO, HttpServer, ServerProcess, forked, serving

LIMIT_SECONDS = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
COMPANY = {"data": {"name": "Waiting"}}


@contextmanager
def one_for_each_signal(
    tmp_path: Path, *flags: str
) -> Iterator[list[tuple[signal.Signals, ServerProcess, Path]]]:
    """A server for each signal, all started at the same time."""
    with ExitStack() as stack:
        processes = []
        for each in SIGNALS:
            workdir = tmp_path / each.name
            workdir.mkdir(parents=True)
            processes.append((each, stack.enter_context(forked(workdir, *flags)), workdir))
        yield processes


@contextmanager
def listening(tmp_path: Path, *flags: str) -> Iterator[list[tuple[signal.Signals, HttpServer]]]:
    """An HTTP server for each signal, once it listens."""
    with one_for_each_signal(tmp_path, "--port", "0", "--no-auth", *flags) as processes:
        yield [
            (each, HttpServer(process, workdir, *process.urls()))
            for each, process, workdir in processes
        ]


def assert_ends_cleanly(process: ServerProcess, number: signal.Signals) -> None:
    children = psutil.Process(process.process.pid).children(recursive=True)

    assert process.end(number, seconds=LIMIT_SECONDS) == 0

    assert not [child for child in children if child.is_running()]
    assert "Traceback" not in process.errors.finish()


def assert_ports_are_free(server: HttpServer) -> None:
    for port in server.ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_signal_ends_an_idle_http_server(tmp_path: Path) -> None:
    with listening(tmp_path) as servers:
        for number, server in servers:
            assert httpx.get(f"{server.rest}/health").json()["health_status"] == "healthy"

            assert_ends_cleanly(server.process, number)
            assert_ports_are_free(server)


def test_a_signal_ends_open_streams_of_both_eras_and_the_server(tmp_path: Path) -> None:
    with listening(tmp_path, *ONE_MODEL) as servers:
        for number, server in servers:
            with (
                LegacyHttp(server.mcp) as legacy,
                ModernHttp(server.mcp) as modern,
                legacy.events() as events,
                modern.listen() as subscription,
            ):
                assert next(subscription)["method"] == "notifications/subscriptions/acknowledged"

                assert_ends_cleanly(server.process, number)

                assert list(events) == []
                (response,) = subscription
                assert response["result"]["resultType"] == "complete"
            assert_ports_are_free(server)


def create_over_mcp(server: HttpServer) -> str:
    """The code of the error with which a create ends, or `lost`."""
    with ModernHttp(server.mcp) as client, contextlib.suppress(httpx.TransportError):
        answer = client.request("tools/call", name="Company_create", arguments=COMPANY)
        in_result = "result" in answer
        failure = (
            answer["result"]["structuredContent"]["error"] if in_result else answer["error"]["data"]
        )
        return str(failure["code"])
    return "lost"


def create_over_rest(server: HttpServer) -> str:
    """The code of the error with which a create ends, or `lost`."""
    with contextlib.suppress(httpx.TransportError):
        url = f"{server.rest}/tools/Company_create"
        return str(httpx.post(url, json=COMPANY, timeout=20).json()["error"]["code"])
    return "lost"


@pytest.mark.parametrize("create", [create_over_mcp, create_over_rest])
def test_a_signal_ends_a_server_that_waits_for_a_locked_database(
    create: Callable[[HttpServer], str], tmp_path: Path
) -> None:
    flags = ("--max-concurrent-requests", "1", "--drain-seconds", "0")
    with listening(tmp_path, *ONE_MODEL, *flags) as servers:
        for number, server in servers:
            with server.writes_held_up(), ThreadPoolExecutor(3) as pool:
                calls = {pool.submit(create, server) for _ in range(3)}
                # One may run and one may wait. That the third is refused shows both are there.
                refused, held_up = wait(calls, return_when=FIRST_COMPLETED)
                assert [call.result() for call in refused] == ["overloaded"]

                assert_ends_cleanly(server.process, number)

                assert {call.result() for call in held_up} <= {"unavailable", "lost"}
            assert_ports_are_free(server)


def test_running_calls_finish_after_a_signal_while_new_ones_are_refused(tmp_path: Path) -> None:
    with (
        listening(tmp_path, *ONE_MODEL) as [(number, server), (_, other)],
        ThreadPoolExecutor(2) as pool,
    ):
        with server.writes_held_up():
            running = pool.submit(create_over_rest_with_result, server)
            wait_for_running_calls(server, 1)
            server.process.process.send_signal(number)
            health = wait_for_health(server, "draining")
            assert health.status_code == 503
            refused = httpx.post(f"{server.rest}/tools/Company_list", json={})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert running.result()["name"] == COMPANY["data"]["name"]
        assert server.process.process.wait(LIMIT_SECONDS) == 0

        with other.writes_held_up():
            given_up = pool.submit(create_over_rest, other)
            wait_for_running_calls(other, 1)
            other.process.process.send_signal(signal.SIGTERM)
            wait_for_health(other, "draining")
            # The second signal does not wait for the calls.
            assert_ends_cleanly(other.process, signal.SIGTERM)
            assert given_up.result() in {"unavailable", "lost"}


def test_for_a_grace_a_server_is_not_ready_and_sends_its_clients_elsewhere(tmp_path: Path) -> None:
    flags = ("--no-auth", *ONE_MODEL, "--shutdown-grace-seconds", "60")
    with serving(tmp_path, *flags) as server, httpx.Client() as web, httpx.Client() as other:
        url = f"{server.rest}/tools/Company_list"
        assert "connection" not in web.post(url, json={}).headers
        server.process.process.send_signal(signal.SIGTERM)
        wait_for_health(server, "draining")

        assert httpx.get(f"{server.rest}/health/ready").status_code == 503
        assert httpx.get(f"{server.rest}/health/live").status_code == 200
        # On a connection from before, and on a new one.
        for client in (web, other):
            answer = client.post(url, json={})
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        with ModernHttp(server.mcp) as modern:
            assert modern.request("tools/list")["result"]["tools"]

        # The second signal does not wait for it.
        assert_ends_cleanly(server.process, signal.SIGTERM)


def create_over_rest_with_result(server: HttpServer) -> dict[str, Any]:
    answer = httpx.post(f"{server.rest}/tools/Company_create", json=COMPANY, timeout=20)
    result: dict[str, Any] = answer.raise_for_status().json()
    return result


def wait_for_running_calls(server: HttpServer, number: int) -> None:
    while read_health(server).json()["components"]["concurrency"]["running"] != number:
        pass


def wait_for_health(server: HttpServer, status: str) -> httpx.Response:
    while (answer := read_health(server)).json()["health_status"] != status:
        pass
    return answer


def read_health(server: HttpServer) -> httpx.Response:
    return httpx.get(f"{server.rest}/health", timeout=20)


def test_a_signal_ends_a_stdio_server_whose_client_stays(tmp_path: Path) -> None:
    with one_for_each_signal(tmp_path, *STDIO) as servers:
        clients = [(number, Stdio(process)) for number, process, _ in servers]
        for _, client in clients:
            client.initialize()
            assert client.request("tools/list")["result"]["tools"]
        for number, client in clients:
            assert_ends_cleanly(client.server, number)


def test_a_signal_ends_a_server_that_is_stuck_in_its_start(tmp_path: Path) -> None:
    stuck = ["--port", "0", "--no-auth", "--models", "tests.e2e.stuck_app:db"]
    with (
        one_for_each_signal(tmp_path / "http", *stuck) as http,
        one_for_each_signal(tmp_path / "stdio", *stuck, "--transport", "stdio") as stdio,
    ):
        for _, process, _ in [*http, *stdio]:
            process.errors.find("^importing$")
        for number, process, _ in [*http, *stdio]:
            assert_ends_cleanly(process, number)


def test_every_acknowledged_create_is_there_after_the_server_was_killed(tmp_path: Path) -> None:
    wanted = 200
    acknowledged: list[str] = []
    half_done = threading.Event()

    def create_until_it_breaks(rest: str) -> None:
        with httpx.Client(timeout=20) as client, contextlib.suppress(httpx.TransportError):
            for number in range(wanted):
                body = {"data": {"name": f"Company {number}"}}
                answer = client.post(f"{rest}/tools/Company_create", json=body)
                acknowledged.append(answer.raise_for_status().json()["id"])
                if number == wanted // 2:
                    half_done.set()

    with serving(tmp_path, "--no-auth", *ONE_MODEL) as server, ThreadPoolExecutor(1) as pool:
        writer = pool.submit(create_until_it_breaks, server.rest)
        assert half_done.wait(40)
        server.process.end(signal.SIGKILL)
        writer.result()
    assert wanted // 2 < len(acknowledged) < wanted

    with serving(tmp_path, "--no-auth", *ONE_MODEL) as server:
        arguments = {"fields": ["id"], "limit": 1000}
        answer = httpx.post(f"{server.rest}/tools/Company_list", json=arguments)
        stored = {record["id"] for record in answer.raise_for_status().json()["records"]}
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + 1
