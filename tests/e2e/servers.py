"""Servers under test: real processes of `python -m kailash_mcp_prod`, always stopped in the end."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.e2e.forked import ForkedProcess
from tests.secret_watch import WATCH

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "kailash_mcp_prod"]
DEVELOPMENT = ["--mode", "development"]
ONE_MODEL = ("--models", "tests.e2e.company_app:db")
"""For tests of how a server runs and ends, which call a tool or two."""
STDIO = ["--transport", "stdio", "--no-auth"]
START_SECONDS = 45.0
REPLY_SECONDS = 20.0

_OURS = {"DATABASE_URL", "JWT_SECRET", "API_KEYS", "REDIS_URL"}


def environment(**settings: str) -> dict[str, str]:
    """Our environment without any setting of a server, but with the reference models to import."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _OURS and not name.startswith("MCP_")
    }
    WATCH.know_all(settings)
    return {**kept, "PYTHONPATH": str(ROOT), "MCP_LOG_LEVEL": "DEBUG", **settings}


class Transcript:
    """The lines of a process's stream, taken by a thread so that the process is never held up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._unread: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self.lines)

    def next(self, seconds: float) -> str | None:
        """The next line, with its newline; `None` at the end of the stream.

        Raises:
            TimeoutError: There is none within that time.
        """
        try:
            return self._unread.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no line within {seconds} s after:\n{self.text}") from None

    def find(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """The match in the next line that has one.

        Raises:
            EOFError: The stream ends before.
        """
        deadline = time.monotonic() + seconds
        while (line := self.next(deadline - time.monotonic())) is not None:
            if match := re.search(pattern, line):
                return match
        raise EOFError(f"{pattern!r} is not in:\n{self.text}")

    def finish(self) -> str:
        """Everything, once the stream has ended."""
        self._thread.join(REPLY_SECONDS)
        assert not self._thread.is_alive(), "somebody still holds the stream open"
        return self.text

    def look_for_secrets(self) -> None:
        """Fails the test if a secret stands in what came so far."""
        WATCH.look(self.text)

    def _take(self) -> None:
        for line in iter(self._stream.readline, b""):
            text = line.decode()
            self.lines.append(text)
            self._unread.put(text)
        self._unread.put(None)


class ServerProcess:
    """One running server."""

    def __init__(self, process: subprocess.Popen[bytes] | ForkedProcess) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.output = Transcript(process.stdout)
        self.errors = Transcript(process.stderr)

    def urls(self) -> tuple[str, str]:
        """The URLs of MCP and of REST, once the server has named them."""
        mcp = self.errors.find(r"^MCP +(http://\S+/mcp)$")
        rest = self.errors.find(r"^REST +(http://\S+)/docs$")
        return mcp[1], rest[1]

    def send(self, message: Any) -> None:
        """Write a message to a stdio server."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The next message of a stdio server."""
        line = self.output.next(seconds)
        assert line is not None, self.errors.text
        message: dict[str, Any] = json.loads(line)
        return message

    def close_input(self) -> None:
        """Close the client's end of a stdio server."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self, signal_number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal and return the exit code.

        Raises:
            subprocess.TimeoutExpired: The process does not end within that time.
        """
        self.process.send_signal(signal_number)
        return self.process.wait(seconds)


@contextmanager
def running(
    workdir: Path,
    *flags: str,
    settings: dict[str, str] | None = None,
    program: Sequence[str] = (*COMMAND, "serve"),
) -> Iterator[ServerProcess]:
    """Start `serve` in a directory, and stop it at the end if it still runs.

    Args:
        workdir: Its working directory, which holds its database unless `settings` name one.
        flags: Of `serve`; without a transport it takes free ports.
        settings: Environment variables.
        program: What stands before the flags.
    """
    with subprocess.Popen(
        [*program, *flags],
        cwd=workdir,
        env=environment(**(settings or {})),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield from _until_stopped(process)


@contextmanager
def forked(
    workdir: Path, *flags: str, settings: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """As `running`, without the second in which a new process imports what it needs."""
    started = ForkedProcess(["serve", *flags], cwd=workdir, env=environment(**(settings or {})))
    with started as process:
        yield from _until_stopped(process)


def _until_stopped(process: subprocess.Popen[bytes] | ForkedProcess) -> Iterator[ServerProcess]:
    server = ServerProcess(process)
    try:
        yield server
    finally:
        _stop(server)
        server.errors.look_for_secrets()


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that listens.

    Attributes:
        process: It.
        workdir: Its working directory.
        mcp: The URL of MCP.
        rest: The root URL of REST.
    """

    process: ServerProcess
    workdir: Path
    mcp: str
    rest: str

    @property
    def ws(self) -> str:
        """The URL of WebSocket, where it is served."""
        return re.sub(r"^http(.*)/mcp$", r"ws\1/ws", self.mcp)

    @property
    def ports(self) -> list[int]:
        """Both of its ports."""
        return [int(re.findall(r":(\d+)", url)[0]) for url in (self.mcp, self.rest)]

    @contextmanager
    def writes_held_up(self) -> Iterator[None]:
        """Let every change of its default SQLite database wait."""
        path = self.workdir / ".data" / "kailash.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


@contextmanager
def serving(
    workdir: Path, *flags: str, settings: dict[str, str] | None = None
) -> Iterator[HttpServer]:
    """Start `serve` on free ports of HTTP, and give its addresses once it listens."""
    with forked(workdir, "--port", "0", *flags, settings=settings) as process:
        yield HttpServer(process, workdir, *process.urls())


def _stop(server: ServerProcess) -> None:
    process = server.process
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    server.output.finish()
    server.errors.finish()
