"""The replicas: processes of the real command, on ports that stay the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class Replica:
    """One server.

    Args:
        settings: Environment variables.
        log: Where its log goes.
    """

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.port = _free_ports()
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it is ready."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MCP_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kailash_mcp_prod", "serve", "--port", str(self.port)],
                env={**kept, "PYTHONPATH": str(ROOT), **self._settings},
                cwd=self._log.parent,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        until = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"A replica does not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Lets it finish what runs, and ends it."""
        self._end(signal.SIGTERM)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        assert self._process is not None
        found: int = psutil.Process(self._process.pid).memory_info().rss
        return found

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port + 1}/health/ready"
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def _free_ports() -> int:
    """The first of two free ports in a row."""
    while True:
        with closing(socket.socket()) as first, closing(socket.socket()) as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
