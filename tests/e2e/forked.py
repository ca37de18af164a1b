"""Starts servers by forking them from a `zygote`; they look like those of `subprocess`."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

_ASKING = threading.Lock()


class ForkedProcess:
    """As much of `subprocess.Popen` as a test of a server needs."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_err, theirs_err = os.pipe()
        self._told, telling = os.pipe()
        header = {"arguments": list(arguments), "workdir": str(cwd), "environment": dict(env)}
        given = [theirs_in, theirs_out, theirs_err, telling]
        with _ASKING:
            asking = _zygote().asking
            socket.send_fds(asking, [json.dumps(header).encode()], given)
            self.pid = int(asking.recv(20))
        for each in given:
            os.close(each)
        self.stdin: IO[bytes] = os.fdopen(ours_in, "wb", 0)
        self.stdout: IO[bytes] = os.fdopen(ours_out, "rb")
        self.stderr: IO[bytes] = os.fdopen(ours_err, "rb")
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end, and returns the exit code.

        Raises:
            subprocess.TimeoutExpired: It does not end within that time.
        """
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a forked server", timeout)
        return code

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Closes its input, and returns all that it prints until it ends: output and errors.

        Raises:
            TimeoutError: It does not end within that time.
        """
        self.stdin.close()
        with ThreadPoolExecutor(2) as pool:
            printed = [pool.submit(each.read) for each in (self.stdout, self.stderr)]
            if wait(printed, timeout).not_done:
                self.kill()
        self.wait()
        if self.returncode == -signal.SIGKILL:
            raise TimeoutError(f"a forked command still ran after {timeout} s")
        output, errors = (each.result().decode() for each in printed)
        return output, errors

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            stream.close()
        self.wait()
        os.close(self._told)

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                return None
            self.returncode = int(os.read(self._told, 20))
        return self.returncode


# In the place of a program: its arguments, environment, directory and streams become those
# of a fork, whose end and whose signals it passes on.
COMMAND = """#!{python} -IS
import json, os, signal, socket, sys
told, telling = os.pipe()
header = dict(python={script}, arguments=sys.argv[1:], workdir=os.getcwd())
header["environment"] = dict(os.environ)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
    asking.connect({door!r})
    socket.send_fds(asking, [json.dumps(header).encode()], [0, 1, 2, telling])
    pid = int(asking.recv(20))
os.close(telling)
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, lambda number, _: os.kill(pid, number))
for each in (0, 1):
    os.close(each)
code = int(os.read(told, 20))
sys.exit(code if code >= 0 else 128 - code)
"""


def commands() -> Path:
    """A directory for `PATH`, whose `kailash-mcp-prod` is a fork instead of a new process.

    Its `python-file` is one that runs a file as `python` does.
    """
    return _zygote().commands


@dataclass(frozen=True)
class _Zygote:
    asking: socket.socket
    commands: Path


@functools.cache
def _zygote() -> _Zygote:
    """The zygote of this test process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = Path(tempfile.mkdtemp(prefix="kailash-mcp-prod-zygote-"))
    doors = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    doors.bind(str(folder / "door"))
    doors.listen()
    for name, script in (("kailash-mcp-prod", False), ("python-file", True)):
        command = folder / name
        command.write_text(
            COMMAND.format(python=sys.executable, door=str(folder / "door"), script=script)
        )
        command.chmod(0o700)
    passed = [theirs.fileno(), doors.fileno()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.zygote", *map(str, passed)],
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    doors.close()

    def end() -> None:
        ours.close()
        process.wait(20)
        shutil.rmtree(folder)

    atexit.register(end)
    return _Zygote(ours, folder)
