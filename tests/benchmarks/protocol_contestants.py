"""The contestants of the protocol benchmark: servers in processes of their own, on one core."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import httpx

from tests.benchmarks.http_load import Load, Plan
from tests.benchmarks.protocol_servers.ours import KEY
from tests.interop.peers import peer_python

SERVER_CORE, LOAD_CORE = 0, 1
BOTH = "application/json, text/event-stream"
CLIENT = {"name": "benchmark", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
START_SECONDS = 60
SERVERS = Path(__file__).parent / "protocol_servers"

OURS, FLOOR = "kailash-mcp-prod", "uvicorn and msgspec"
PEERS = {
    "FastMCP 4": ("fastmcp", "fastmcp"),
    "SDK 1.30 FastMCP": ("sdk1", "sdk1"),
    "SDK 2.3": ("sdk2", "sdk2"),
    "kailash-mcp": ("agent", "kailash"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, and what its clients have to send; `tool` is the one that they call.

    `pid` is its process.
    """

    name: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    tool: str = "no_op_0"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pid: int = 0

    def requests(self, era: str, method: str, count: int) -> list[str]:
        """A request for each of so many connections, which have their own sessions."""
        params: dict[str, Any] = {"name": self.tool, "arguments": self.arguments}
        if method == "tools/list":
            params = {}
        if era == "modern":
            headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
            if "name" in params:
                headers["Mcp-Name"] = params["name"]
            return [self._http(method, {**params, "_meta": META}, headers)] * count
        return [
            self._http(
                method,
                params,
                {"MCP-Protocol-Version": "2025-11-25", "Mcp-Session-Id": self._session()},
            )
            for _ in range(count)
        ]

    def calling(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """One request of the newer era."""
        return replace(self, tool=tool, arguments=arguments).requests("modern", "tools/call", 1)[0]

    def load(self, era: str, method: str, connections: int, seconds: float) -> Load:
        """The figures of a number of connections."""
        plan = Plan(self.port, self.requests(era, method, connections), seconds, core=LOAD_CORE)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.http_load"],
            input=json.dumps(asdict(plan)),
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 60,
        )
        return Load(**json.loads(done.stdout))

    def _http(self, method: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        lines = {
            "Host": f"127.0.0.1:{self.port}",
            "Content-Type": "application/json",
            "Accept": BOTH,
            "Content-Length": str(len(body)),
            **self.headers,
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST /mcp HTTP/1.1\r\n{head}\r\n{body}"

    def _session(self) -> str:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
        headers = {"Accept": BOTH, **self.headers}
        url = f"http://127.0.0.1:{self.port}/mcp"
        with httpx.Client(headers=headers, timeout=30) as client:
            message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
            response = client.post(url, json=message)
            response.raise_for_status()
            session = str(response.headers.get("mcp-session-id", ""))
            initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            told = {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
            client.post(url, json=initialized, headers=told)
        return session


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    headers: Mapping[str, str],
    *,
    after: Sequence[str] = (),
    log: IO[bytes] | None = None,
) -> Iterator[Server]:
    """A server, from when it takes connections to the end of the block.

    Args:
        name: What it is called.
        command: Starts it, with its port as the next argument.
        headers: Sent with each request.
        after: Further arguments behind the port.
        log: Where its standard error goes; by default nowhere.
    """
    port = free_port()
    process = subprocess.Popen(
        [*command, str(port), *after],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if log is None else log,
        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),  # noqa: PLW1509 - no threads yet
        start_new_session=True,
    )
    try:
        _wait_for(name, port, process)
        yield Server(name, port, headers, pid=process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def all_running(*chosen: str) -> Iterator[dict[str, Server]]:
    """Every contestant, or those that are chosen; who is not measured waits, and takes no time."""
    own = [sys.executable, "-m"]
    commands: dict[str, tuple[list[str], dict[str, str]]] = {
        OURS: ([*own, "tests.benchmarks.protocol_servers.ours"], {"X-API-Key": KEY}),
        FLOOR: ([*own, "tests.benchmarks.protocol_servers.floor"], {}),
    }
    for name, (environment, kind) in PEERS.items():
        python = str(peer_python(environment))
        commands[name] = ([python, str(SERVERS / "peer.py"), kind], {})
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running(name, command, headers))
            for name, (command, headers) in commands.items()
            if not chosen or name in chosen
        }


def free_port() -> int:
    """A free port before another one: ours has REST on the next."""
    while True:
        with socket.socket() as listening, socket.socket() as next_one:
            listening.bind(("127.0.0.1", 0))
            port: int = listening.getsockname()[1]
            with suppress(OSError, OverflowError):
                next_one.bind(("127.0.0.1", port + 1))
                return port


def _wait_for(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            # Any answer: some listen before they can give one.
            httpx.get(f"http://127.0.0.1:{port}/mcp", timeout=START_SECONDS)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"The server {name} did not start.")
