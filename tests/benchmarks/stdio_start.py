"""How long a cold process takes to answer its first call over stdio: `make bench NAME=stdio_start`.

From the start of the process to the result: a handshake, then one call. The server is the
reference application on SQLite with its sample rows, whose manifest an earlier start has written;
the peer is a bare FastMCP server of the official SDK 1.x with one tool that does nothing. Both have
their bytecode compiled, as after an installation, and run in turn.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio

from tests.benchmarks.harness import Bar, Figure, Finding, at_most, interleave, run
from tests.e2e.servers import COMMAND, DEVELOPMENT, environment, serving
from tests.interop.peers import peer_python
from tests.postgres import running_postgres

ROUNDS = 15
PEER = """
from mcp.server.fastmcp import FastMCP

server = FastMCP("bare")


@server.tool()
def nothing() -> str:
    return ""


server.run("stdio")
"""
HANDSHAKE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
LIST = ("Company_list", {"limit": 5})


class Cold:
    """A command, whose process is started anew for each measurement."""

    def __init__(
        self,
        command: Sequence[str],
        call: tuple[str, dict[str, Any]],
        workdir: Path,
        settings: Mapping[str, str],
    ) -> None:
        self._command = command
        self._call = call
        self._workdir = workdir
        self._environment = {**environment(**settings)}
        # Else whatever has no bytecode yet would be compiled again in each round.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    async def seconds(self) -> float:
        """From the start of a process to the result of its first call."""
        return await anyio.to_thread.run_sync(self._measure)

    def _measure(self) -> float:
        began = perf_counter()
        with subprocess.Popen(
            self._command,
            cwd=self._workdir,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            _ask(process, 1, "initialize", HANDSHAKE)
            _send(process, {"method": "notifications/initialized"})
            name, arguments = self._call
            answer = _ask(process, 2, "tools/call", {"name": name, "arguments": arguments})
            took = perf_counter() - began
            assert process.stdin is not None
            process.stdin.close()
        if answer["result"].get("isError"):
            raise RuntimeError(f"{name} failed: {answer}")
        return took


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


def _ask(
    process: subprocess.Popen[bytes], number: int, method: str, params: dict[str, Any]
) -> dict[str, Any]:
    _send(process, {"id": number, "method": method, "params": params})
    assert process.stdout is not None
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if message.get("id") == number:
            return message
    raise RuntimeError(f"{method} was not answered")


def compile_bytecode(python: Path | str) -> None:
    """Compiles what is installed for an interpreter, as installers do."""
    place = "sysconfig.get_path('purelib')"
    code = f"import compileall, sysconfig; compileall.compile_dir({place}, quiet=2)"
    subprocess.run([python, "-c", code], check=True)


@contextmanager
def contestants(workdir: Path) -> Iterator[dict[str, Cold]]:
    """The commands to measure, with what they need running beside them."""
    peer = peer_python("sdk1")
    for python in (peer, sys.executable):
        compile_bytecode(python)
    script = workdir / "bare.py"
    script.write_text(PEER)
    stdio = [*COMMAND, "serve", "--transport", "stdio"]
    base = {"XDG_CACHE_HOME": str(workdir / "cache")}
    sqlite = {**base, "DATABASE_URL": f"sqlite:///{workdir / 'app.db'}"}
    with (
        running_postgres() as postgres,
        postgres.database() as url,
        serving(workdir, *DEVELOPMENT, settings=sqlite) as server,
    ):
        postgresql = {**base, "DATABASE_URL": url}
        with serving(workdir, *DEVELOPMENT, settings=postgresql):
            # Has written the manifest, as the other has.
            pass
        cold = partial(Cold, workdir=workdir)
        yield {
            "peer": cold([str(peer), str(script)], ("nothing", {}), settings=base),
            "manifest": cold([*stdio, *DEVELOPMENT], LIST, settings=sqlite),
            "postgresql": cold([*stdio, *DEVELOPMENT], LIST, settings=postgresql),
            "bridge": cold([*stdio, "--connect", server.mcp], LIST, settings=base),
            "import": cold([*stdio, *DEVELOPMENT, "--no-instant-start"], LIST, settings=sqlite),
        }


def measure() -> list[Finding]:
    """The bar, and what stands beside it."""
    with tempfile.TemporaryDirectory() as folder, contestants(Path(folder)) as found:
        runs = {name: each.seconds for name, each in found.items()}
        rounds = anyio.run(partial(interleave, runs, ROUNDS, warm_up=2))
    bar: Bar = at_most(
        "stdio, cold process to the first Company_list, as a multiple of bare FastMCP's first call",
        1.5,
        rounds.ratio("manifest", "peer"),
        "x",
    )
    names = {
        "peer": "bare FastMCP of SDK 1.x: first call",
        "manifest": "from the manifest, SQLite: first Company_list",
        "postgresql": "from the manifest, PostgreSQL: first Company_list",
        "bridge": "through the bridge: first Company_list",
        "import": "without a manifest, SQLite: first Company_list",
    }
    return [
        bar,
        *(Figure(text, rounds.median(name) * 1000, "ms") for name, text in names.items()),
        *(
            Figure(f"{names[name]}, as a multiple of the peer", rounds.ratio(name, "peer"), "x")
            for name in ("postgresql", "bridge", "import")
        ),
    ]


if __name__ == "__main__":
    sys.exit(run("stdio_start", measure))
