"""What `serve` does with a database that is down, empty, or wanted by others at the same time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.servers import HttpServer, ServerProcess, forked, serving

FLAGS = ["--port", "0", "--no-auth"]
START_SECONDS = 30
COMPANY = {"data": {"name": "Ready"}}


@pytest.fixture
def closed_port() -> Iterator[socket.socket]:
    """A port of this machine's that refuses connections until somebody listens on it."""
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", 0))
        yield keeper


@contextmanager
def starting(workdir: Path, url: str, *flags: str) -> Iterator[ServerProcess]:
    with forked(workdir, *FLAGS, *flags, settings={"DATABASE_URL": url}) as process:
        yield process


def refusal(process: ServerProcess) -> str:
    """What a server says that ends with the exit code for its database."""
    assert process.process.wait(START_SECONDS) == 4
    assert process.output.finish() == ""
    errors = process.errors.finish()
    assert "Traceback" not in errors
    assert "hunter2" not in errors
    return errors.splitlines()[-1]


def assert_serves(server: HttpServer) -> None:
    made = httpx.post(f"{server.rest}/tools/Company_create", json=COMPANY).raise_for_status()
    found = httpx.post(f"{server.rest}/tools/Company_read", json={"id": made.json()["id"]})
    assert found.json() == made.json()


async def relay(target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass everything on to a port of this machine's, and its answers back."""
    answers, requests = await asyncio.open_connection("127.0.0.1", target)

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    await asyncio.gather(pass_on(reader, requests), pass_on(answers, writer))


async def test_a_server_waits_for_a_database_that_comes_up_later(
    postgres_url: str, closed_port: socket.socket, tmp_path: Path
) -> None:
    database = httpx.URL(postgres_url)
    url = str(database.copy_with(port=closed_port.getsockname()[1]))

    with starting(tmp_path, url, "--wait-for-db", "50") as process:
        await asyncio.to_thread(process.errors.find, "Waiting for up to 50 s")
        assert process.process.poll() is None
        gateway = await asyncio.start_server(
            lambda reader, writer: relay(database.port or 0, reader, writer), sock=closed_port
        )
        async with gateway:
            server = HttpServer(process, tmp_path, *await asyncio.to_thread(process.urls))
            await asyncio.to_thread(assert_serves, server)
            assert await asyncio.to_thread(process.end) == 0


def test_a_server_that_has_waited_in_vain_says_so_and_ends_with_4(
    closed_port: socket.socket, tmp_path: Path
) -> None:
    url = f"postgresql://app:hunter2@127.0.0.1:{closed_port.getsockname()[1]}/app"

    with starting(tmp_path, url, "--wait-for-db", "0.5") as process:
        said = refusal(process)

    assert said.startswith("Error: PostgreSQL can't be reached")
    assert said.endswith("Waited for 0.5 s.")


def test_without_waiting_a_database_that_is_down_ends_the_server_with_4(
    closed_port: socket.socket, tmp_path: Path
) -> None:
    url = f"postgresql://app:hunter2@127.0.0.1:{closed_port.getsockname()[1]}/app"

    with starting(tmp_path, url) as process:
        said = refusal(process)

    assert said.startswith("Error: PostgreSQL can't be reached")
    assert "Check DATABASE_URL and that the database is up." in said
    assert "Waiting for" not in process.errors.text


def test_without_migration_a_server_names_what_is_missing_and_serves_what_is_complete(
    database_url: str, tmp_path: Path
) -> None:
    with starting(tmp_path, database_url, "--no-auto-migrate") as process:
        said = refusal(process)
    assert "The database lacks: table companies (Company), table users (User)" in said
    assert "Run once with auto_migrate, or create them." in said

    settings = {"DATABASE_URL": database_url}
    with serving(tmp_path, "--no-auth", settings=settings) as migrating:
        assert_serves(migrating)
    with serving(tmp_path, "--no-auth", "--no-auto-migrate", settings=settings) as checking:
        assert_serves(checking)


@pytest.mark.timeout(150)
def test_four_servers_that_start_at_once_on_an_empty_database_all_serve(
    database_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(starting(tmp_path, database_url)) for _ in range(4)]
        for process in processes:
            assert_serves(HttpServer(process, tmp_path, *process.urls()))
