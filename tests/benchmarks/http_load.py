"""Load on an HTTP server: connections that each send the same request again and again.

Runs in a process of its own, on a core of its own: `python -m tests.benchmarks.http_load`. A plan
comes as JSON on standard input, the figures go to standard output. The client does as little as it
can, so that the server is what is measured: the request is made once, and of a response only its
status and length are looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import uvloop


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent: to where, a request for each connection, and for how many seconds."""

    port: int
    requests: Sequence[str]
    seconds: float
    warm_up: float = 0.3
    core: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: responses a second, latencies in milliseconds, failures, and a sample.

    `answers` are all responses, also those before and after the time that counts.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    sample: str
    answers: int = 0


class _Connection(asyncio.Protocol):
    """One connection; keeps one request in flight until it is told to stop."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._missing = 0
        self._began = 0.0
        self._transport: Any = None
        self.counting = False
        self.stopping = False
        self.latencies: list[float] = []
        self.errors = 0
        self.answers = 0
        self.sample = b""
        self.lost = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopping:
            self.errors += 1
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
            if self._missing <= 0:
                self._done()
            return
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        at = head.find(b"content-length: ")
        if not head.startswith(b"http/1.1 200") or at < 0:
            self.errors += 1
            self.sample = self.sample or self._received[:2000]
            self.stopping = True
            self._transport.close()
            return
        length = int(head[at + 16 :].split(b"\r\n", 1)[0])
        self.sample = self.sample or self._received[end + 4 : end + 2000]
        self._missing = end + 4 + length - len(self._received)
        self._received = b""
        if self._missing <= 0:
            self._done()

    def _done(self) -> None:
        self._missing = 0
        self.answers += 1
        if self.counting:
            self.latencies.append(time.perf_counter() - self._began)
        if self.stopping:
            self._transport.close()
        else:
            self._send()

    def _send(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)


async def load(plan: Plan) -> Load:
    """Carries a plan out."""
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    for request in plan.requests:
        connection = _Connection(request.encode())
        await loop.create_connection(partial(_same, connection), "127.0.0.1", plan.port)
        connections.append(connection)
    await asyncio.sleep(plan.warm_up)
    for each in connections:
        each.counting = True
    began = time.perf_counter()
    await asyncio.sleep(plan.seconds)
    for each in connections:
        each.counting = False
    elapsed = time.perf_counter() - began
    for each in connections:
        each.stopping = True
    await asyncio.wait({asyncio.create_task(each.lost.wait()) for each in connections}, timeout=10)
    latencies = sorted(latency for each in connections for latency in each.latencies) or [0.0]
    return Load(
        per_second=len(latencies) / elapsed,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
        errors=sum(each.errors for each in connections),
        sample=connections[0].sample.decode(errors="replace"),
        answers=sum(each.answers for each in connections),
    )


def _same(connection: _Connection) -> _Connection:
    return connection


def main() -> None:
    """Reads a plan, carries it out, and prints the figures."""
    plan = Plan(**json.load(sys.stdin))
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(load(plan))
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main()
