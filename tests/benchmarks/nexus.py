"""MCP on a Nexus app beside Nexus's own endpoint: `make bench NAME=nexus`.

All is one app, served by `serve --mode nexus-integration` on one core, with durability off and
without authentication; the load comes from the other core. The handler does next to nothing. Its
audit is off, as Nexus's own endpoint has none; a figure tells what it takes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import jwt

from tests.benchmarks.harness import Figure, Finding, Rounds, at_least, at_most, run
from tests.benchmarks.http_load import Load, Plan
from tests.benchmarks.protocol_contestants import BOTH, LOAD_CORE, META, SERVER_CORE, free_port

ROUNDS = 5
SECONDS = 1.5
CONNECTIONS = 50
START_SECONDS = 60
SECRET = "nexus-benchmark-secret-of-many-characters"
INPUTS = {"name": "Ada"}
EXECUTE = {"name": "execute_nexus_workflow", "arguments": {"name": "greet", "inputs": INPUTS}}
EXPOSED = {"name": "nexus_greet", "arguments": INPUTS}
BARE, OWN, REST, MODERN, LEGACY = (
    "a bare FastAPI route",
    "Nexus's own /workflows/greet/execute",
    "/api/mcp/execute-tool",
    "tools/call at /api/mcp, 2026-07-28",
    "tools/call at /api/mcp, 2025-11-25",
)


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and what each connection sends to it."""

    port: int
    requests: Sequence[str]

    def load(self) -> Load:
        """The figures of a load."""
        plan = Plan(self.port, self.requests, SECONDS, core=LOAD_CORE)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.http_load"],
            input=json.dumps(asdict(plan)),
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS + 60,
        )
        return Load(**json.loads(done.stdout))


def post(port: int, path: str, body: Mapping[str, Any], **headers: str) -> Target:
    """A POST of JSON."""
    text = json.dumps(body)
    lines = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(text)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Target(port, [f"POST {path} HTTP/1.1\r\n{head}\r\n{text}"] * CONNECTIONS)


@contextmanager
def serving(command: list[str], port: int, path: str, **variables: str) -> Iterator[None]:
    """A server in a process of its own, in a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.getcwd(), **variables},  # noqa: PTH109
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),  # noqa: PLW1509 - no threads
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}{path}", timeout=START_SECONDS)
                    break
                except httpx.TransportError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError("The server did not start.") from None
                    time.sleep(0.1)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def nexus(**variables: str) -> Iterator[int]:
    """The app, served by our command."""
    port = free_port()
    command = [sys.executable, "-m", "kailash_mcp_prod", "serve"]
    command += ["--mode", "nexus-integration", "--nexus", "tests.benchmarks.nexus_servers.app:app"]
    command += ["--port", str(port), "--rate-limit-per-minute", "100000000"]
    with serving(command, port, "/api/mcp/status", **{"MCP_ENABLE_AUDIT": "false", **variables}):
        yield port


def calls(port: int, **headers: str) -> dict[str, Target]:
    """What is compared on the app."""
    modern = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {**EXECUTE, "_meta": META},
    }
    legacy = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": EXECUTE}
    rest = {"tool_name": EXECUTE["name"], "arguments": EXECUTE["arguments"]}
    return {
        OWN: post(port, "/workflows/greet/execute", {"parameters": INPUTS}, **headers),
        REST: post(port, "/api/mcp/execute-tool", rest, **headers),
        MODERN: post(
            port,
            "/api/mcp",
            modern,
            Accept=BOTH,
            MCP_Protocol_Version="2026-07-28",
            Mcp_Method="tools/call",
            Mcp_Name=str(EXECUTE["name"]),
            **headers,
        ),
        # Of one session, no two requests may have the same id at once.
        LEGACY: Target(
            port,
            [
                post(
                    port,
                    "/api/mcp",
                    legacy,
                    Accept=BOTH,
                    MCP_Protocol_Version="2025-11-25",
                    Mcp_Session_Id=session(port, **headers),
                    **headers,
                ).requests[0]
                for _ in range(CONNECTIONS)
            ],
        ),
    }


def session(port: int, **headers: str) -> str:
    """A new session of the older era."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    }
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = httpx.post(
        f"http://127.0.0.1:{port}/api/mcp", json=message, headers={"Accept": BOTH, **headers}
    )
    answer.raise_for_status()
    return str(answer.headers["mcp-session-id"])


def measured(targets: Mapping[str, Target]) -> dict[str, list[Load]]:
    """The loads of all, which take turns."""
    loads: dict[str, list[Load]] = {name: [] for name in targets}
    for number in range(ROUNDS + 1):
        for name, target in targets.items():
            found = target.load()
            if number:
                loads[name].append(found)
    return loads


def findings() -> Iterator[Finding]:
    """Every part."""
    bare_port = free_port()
    bare = [sys.executable, "-m", "tests.benchmarks.nexus_servers.bare", str(bare_port)]
    with nexus() as port, serving(bare, bare_port, "/greet"):
        loads = measured({BARE: post(bare_port, "/greet", INPUTS), **calls(port)})
    speed = Rounds({name: [each.per_second for each in all_] for name, all_ in loads.items()})
    yield at_least(f"{REST}: of {OWN}", 1, speed.ratio(REST, OWN), "times")
    for name in (MODERN, LEGACY):
        yield at_least(f"{name}: of {OWN}", 80, 100 * speed.ratio(name, OWN), "%")
    errors = sum(each.errors for all_ in loads.values() for each in all_)
    yield at_most("errors", 0, errors, "errors")
    for name in loads:
        yield Figure(name, speed.median(name), "calls/s")
        share = 100 * speed.ratio(name, BARE)
        yield Figure(f"{name}: of {BARE}", share, "%")
        p99 = Rounds({name: [each.p99_ms for each in loads[name]]})
        yield Figure(f"{name}: 99th percentile", p99.median(name), "ms")
    yield from others()


def others() -> Iterator[Finding]:
    """With the app's own authentication, and with the audit."""
    now = int(time.time())
    claims = {"sub": "ada", "permissions": ["*"], "exp": now + 3600}
    token = f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"
    for what, variables, headers in (
        ("with tokens", {"BENCH_SECRET": SECRET}, {"Authorization": token}),
        ("with the audit", {"MCP_ENABLE_AUDIT": "true"}, {}),
    ):
        with nexus(**variables) as port:
            loads = measured(calls(port, **headers))
        for name, all_ in loads.items():
            found = Rounds({name: [each.per_second for each in all_]})
            yield Figure(f"{name}, {what}", found.median(name), "calls/s")


if __name__ == "__main__":
    sys.exit(run("nexus", findings))
