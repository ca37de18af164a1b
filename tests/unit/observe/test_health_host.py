from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.observe import health_host
from kailash_mcp_prod.observe.health_host import disk, memory, memory_limit

MEGABYTE = 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("free", "status"),
    [(500 * MEGABYTE, "healthy"), (99 * MEGABYTE, "degraded"), (1000, "unhealthy")],
)
async def test_a_full_disk_is_told_without_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, status: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: Usage(0, 0, free))

    assert await disk(tmp_path / "a.db") == {"status": status, "free_mb": free // MEGABYTE}


async def test_a_place_that_has_gone_is_told_without_its_name(tmp_path: Path) -> None:
    found = await disk(tmp_path / "gone" / "a.db")

    assert found["status"] == "unhealthy"
    assert "gone" not in str(found)


@pytest.mark.parametrize(
    ("limit", "status"), [(None, "healthy"), (1 << 40, "healthy"), (1 << 20, "degraded")]
)
async def test_memory_is_held_against_the_limit_of_the_container(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, status: str
) -> None:
    monkeypatch.setattr(health_host, "memory_limit", lambda: limit)
    found: Any = await memory()

    assert found["status"] == status
    assert found["rss_mb"] > 1
    assert ("limit_mb" in found) == (limit is not None)


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {"memory.max": "1000"}, 1000),
        ("0::/a/b", {"a/memory.max": "500", "a/b/memory.max": "max", "memory.max": "900"}, 500),
        ("4:memory:/a\n0::/", {"memory/a/memory.limit_in_bytes": "700"}, 700),
        ("4:memory:/a", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("3:cpu:/", {"memory.max": "5"}, None),
        ("0::/../..", {"memory.max": "5"}, 5),
    ],
)
def test_the_smallest_limit_of_both_kinds_of_groups_counts(
    tmp_path: Path, groups: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "cgroup").write_text(groups + "\n")
    root = tmp_path / "fs"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    assert memory_limit(tmp_path / "cgroup", root) == limit


def test_a_machine_without_groups_has_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path / "none", tmp_path) is None
