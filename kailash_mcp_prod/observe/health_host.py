"""How the process and its machine are: event loop, memory, the disk under an SQLite file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from kailash_mcp_prod.observe.health import DEGRADED, HEALTHY, UNHEALTHY, Component
from kailash_mcp_prod.observe.loop_lag import LoopLag

LATE_SECONDS: Final = 1.0
"""The event loop is degraded when it was later than this within the last five seconds."""
MEMORY_SHARE: Final = 0.9
"""The memory is degraded when the process uses more than this part of its limit."""
LOW_DISK_MB: Final = 100
"""The disk is degraded when less is free, and unhealthy when nothing is."""

_MEGABYTE: Final = 1024 * 1024
_UNLIMITED: Final = 1 << 60


def event_loop(lag: LoopLag) -> Component:
    """How late the loop is."""
    return {
        "status": DEGRADED if lag.worst > LATE_SECONDS else HEALTHY,
        "lag_ms": round(lag.latest * 1000, 1),
        "worst_lag_ms": round(lag.worst * 1000, 1),
    }


async def memory() -> Component:
    """What the process uses, against the limit of its container if there is one."""
    # Late, because a process over stdio may never be asked.
    import psutil

    used: int = psutil.Process().memory_info().rss
    limit = memory_limit()
    if limit is None:
        return {"status": HEALTHY, "rss_mb": round(used / _MEGABYTE, 1)}
    return {
        "status": DEGRADED if used > limit * MEMORY_SHARE else HEALTHY,
        "rss_mb": round(used / _MEGABYTE, 1),
        "limit_mb": round(limit / _MEGABYTE, 1),
    }


async def disk(file: Path) -> Component:
    """How much room is left for an SQLite file; its place is not told."""
    try:
        # In a thread, because a disk of the network may not answer.
        free = (await asyncio.to_thread(shutil.disk_usage, file.parent)).free // _MEGABYTE
    except OSError:
        return {"status": UNHEALTHY, "reason": "The place of the database can't be read."}
    status = UNHEALTHY if free == 0 else DEGRADED if free < LOW_DISK_MB else HEALTHY
    return {"status": status, "free_mb": free}


@cache
def memory_limit(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """The smallest limit of the control groups that the process is in; `None` without any."""
    limits = []
    for file in _limit_files(groups, root):
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):
            # Not there, or `max`.
            continue
    smallest = min(limits, default=_UNLIMITED)
    return smallest if smallest < _UNLIMITED else None


def _limit_files(groups: Path, root: Path) -> Iterator[Path]:
    """Where limits may be: of the group itself and of all around it, in both kinds of groups."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, file = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, file = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        place = base / name.lstrip("/")
        while place != base and base in place.parents:
            yield place / file
            place = place.parent
        yield base / file
