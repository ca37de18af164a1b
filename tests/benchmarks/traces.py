"""What traces cost: `make bench NAME=traces`.

While they are off, all that is left of them is the question whether a request is to be traced; its
time is that of answering a `ping` with it less that without it, in one process. What they cost when
they are on is measured as in the benchmark of observation: `Company_read` over MCP at 50
connections, with all spans kept and sent to a collector, with none kept, and with traces off.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.protocol import Context, Lifetime, Request
from kailash_mcp_prod.server import ProductionMCPServer
from tests.benchmarks.harness import (
    Figure,
    Finding,
    Rounds,
    at_most,
    in_fresh_process,
    interleave,
    run,
)
from tests.benchmarks.http_load import Load
from tests.benchmarks.observe import CONNECTIONS, ROUNDS, SECONDS, measured_on, servers
from tests.benchmarks.protocol_servers.observed import NONE, TRACED, UNTRACED

PINGS = 20_000
KINDS = {TRACED: "all kept", UNTRACED: "none kept", NONE: "off"}


async def question() -> list[Finding]:
    """The time of the question, in microseconds."""
    dispatcher = ProductionMCPServer(ServerConfig(enable_auth=False, log_level="ERROR"))._dispatcher
    request = Request(1, "ping", {})

    async def emit(_message: bytes) -> None:
        raise AssertionError

    context = Context(ANONYMOUS, emit, Lifetime())

    async def with_it() -> float:
        began = time.process_time()
        for _ in range(PINGS):
            await dispatcher._answer(request, context)
        return (time.process_time() - began) / PINGS * 1e6

    async def without_it() -> float:
        began = time.process_time()
        for _ in range(PINGS):
            await dispatcher._observed(request, context)
        return (time.process_time() - began) / PINGS * 1e6

    found = await interleave({"with": with_it, "without": without_it}, 9)
    pairs = zip(found.figures["with"], found.figures["without"], strict=True)
    costs = sorted(one - other for one, other in pairs)
    return [at_most("a request while traces are off", 0.5, costs[len(costs) // 2], "µs")]


def off() -> list[Finding]:
    """The same, in this process."""
    return asyncio.run(question())


@contextmanager
def collector() -> Iterator[str]:
    """A collector that takes everything and keeps nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Is quiet."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        web.server_close()


def on() -> Iterator[Finding]:
    """What they cost when they are on."""
    kinds = tuple(KINDS)
    with tempfile.TemporaryDirectory(prefix="kailash-mcp-prod-bench-") as name, collector() as url:
        folder = Path(name)
        urls = {kind: f"sqlite:///{folder}/{kind}.db" for kind in kinds}
        with servers(kinds, urls.__getitem__, folder, collector=url) as observed:
            turns = measured_on(observed, kinds, "Company_read", ROUNDS)
    loads: dict[str, list[Load]] = {
        kind: [load for load, _ in each] for kind, each in turns.items()
    }
    speed = Rounds({kind: [each.per_second for each in all_] for kind, all_ in loads.items()})
    cpu = Rounds({kind: [spent for _, spent in each] for kind, each in turns.items()})
    what = f"Company_read, {CONNECTIONS} connections, {SECONDS:g} s a round"
    errors = sum(each.errors for all_ in loads.values() for each in all_)
    yield at_most(f"{what}: errors", 0, errors, "errors")
    for kind, name in KINDS.items():
        yield Figure(f"{what}: {name}", speed.median(kind), "calls/s")
    for kind, name in KINDS.items():
        yield Figure(f"{what}, processor time: {name}", cpu.median(kind), "µs/call")


def all_parts() -> Iterator[Finding]:
    """Both."""
    yield from in_fresh_process(off)
    yield from on()


if __name__ == "__main__":
    sys.exit(run("traces", all_parts))
