"""The protocol beside its peers: `make bench NAME=protocol`.

Every server has 135 tools and answers as JSON, on one core; the load comes from the other one.
Ours is the whole server of the reference application with an API key; the called tool of all does
nothing. Each peer is measured in the era in which it is faster. The floor decodes and encodes with
msgspec, and does nothing else.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from tests.benchmarks.harness import Figure, Finding, Rounds, at_least, at_most, run
from tests.benchmarks.http_load import Load
from tests.benchmarks.protocol_contestants import FLOOR, OURS, PEERS, Server, all_running
from tests.benchmarks.stdio_start import measure as cold_starts

ROUNDS = 5
SECONDS = 1.5
# Over one connection a third of the time is spent on waking up, which varies from second to second.
ROUNDS_ALONE = 15
SECONDS_ALONE = 0.5
CONNECTIONS = 50
MANY = 500
ERAS = ("modern", "legacy")

Loads = dict[str, list[Load]]


def faster_era(server: Server) -> str:
    """The era in which a server answers more calls; ours and the floor know the newer one."""
    if server.name in {OURS, FLOOR}:
        return "modern"
    speed: dict[str, float] = {}
    for era in ERAS:
        try:
            tried = server.load(era, "tools/call", 10, 0.5)
        except Exception:  # noqa: BLE001 - it does not speak this era
            continue
        if not tried.errors:
            speed[era] = tried.per_second
    return max(speed, key=lambda era: speed[era])


def measured(servers: dict[str, Server], eras: dict[str, str], method: str, many: int) -> Loads:
    """The loads of all servers, which take turns."""
    times, seconds = (ROUNDS, SECONDS) if many > 1 else (ROUNDS_ALONE, SECONDS_ALONE)
    loads: Loads = defaultdict(list)
    for _ in range(times):
        for name, server in servers.items():
            loads[name].append(server.load(eras[name], method, many, seconds))
    return loads


def rounds(loads: Loads, figure: str) -> Rounds:
    """One of the figures of all."""
    return Rounds({name: [getattr(each, figure) for each in all_] for name, all_ in loads.items()})


def fastest_peer(found: Rounds, *, least: bool = False) -> str:
    """The peer with the best median."""
    choose = min if least else max
    return choose(PEERS, key=found.median)


def figures(what: str, found: Rounds, unit: str) -> Iterator[Figure]:
    """The medians of all."""
    for name in found.figures:
        yield Figure(f"{what}: {name}", found.median(name), unit)


def calls(servers: dict[str, Server], eras: dict[str, str]) -> Iterator[Finding]:
    """`tools/call` over 50 connections, and over one."""
    many = measured(servers, eras, "tools/call", CONNECTIONS)
    speed = rounds(many, "per_second")
    what = f"tools/call, {CONNECTIONS} connections"
    best = fastest_peer(speed)
    yield at_least(f"{what}: of the fastest peer ({best})", 3, speed.ratio(OURS, best), "times")
    yield at_least(f"{what}: of the floor", 25, 100 * speed.ratio(OURS, FLOOR), "%")
    yield from figures(what, speed, "calls/s")
    alone = rounds(measured(servers, eras, "tools/call", 1), "p50_ms")
    what = "tools/call, one connection, median latency"
    best = fastest_peer(alone, least=True)
    yield at_most(f"{what}: of the fastest peer ({best})", 0.5, alone.ratio(OURS, best), "times")
    yield from figures(what, alone, "ms")
    failed = sum(each.errors for each in many[OURS])
    yield at_most(f"tools/call, {CONNECTIONS} connections: errors", 0, failed, "errors")


def lists(servers: dict[str, Server], eras: dict[str, str]) -> Iterator[Finding]:
    """`tools/list` of 135 tools."""
    speed = rounds(measured(servers, eras, "tools/list", CONNECTIONS), "per_second")
    what = f"tools/list of 135 tools, {CONNECTIONS} connections"
    best = fastest_peer(speed)
    yield at_least(f"{what}: of the fastest peer ({best})", 20, speed.ratio(OURS, best), "times")
    yield from figures(what, speed, "lists/s")


def crowd(server: Server) -> Iterator[Finding]:
    """500 connections beside 50."""
    few, many = [], []
    for _ in range(ROUNDS):
        few.append(server.load("modern", "tools/call", CONNECTIONS, SECONDS))
        many.append(server.load("modern", "tools/call", MANY, 2 * SECONDS))
    what = f"tools/call, {MANY} connections"
    pairs = zip(many, few, strict=True)
    share = median(each.per_second / base.per_second for each, base in pairs)
    yield at_least(f"{what}: of the throughput at {CONNECTIONS}", 80, 100 * share, "%")
    yield at_most(f"{what}: errors", 0, sum(each.errors for each in many), "errors")
    spread = median(each.p99_ms / each.p50_ms for each in many)
    yield at_most(f"{what}: 99th percentile of the median", 4, spread, "times")
    yield Figure(f"{what}: median latency", median(each.p50_ms for each in many), "ms")


def all_parts() -> Iterator[Finding]:
    """Every part, one after the other."""
    with all_running() as servers:
        eras = {name: faster_era(server) for name, server in servers.items()}
        yield from calls(servers, eras)
        yield from lists(servers, eras)
        yield from crowd(servers[OURS])
    yield from cold_starts()


if __name__ == "__main__":
    sys.exit(run("protocol", all_parts))
