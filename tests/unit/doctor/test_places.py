from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor import places
from kailash_mcp_prod.doctor.finding import Status
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.doctor.places import check_permissions, check_ports


def patient(file: Path | None = None, url: str | None = None, **settings: Any) -> Patient:
    return Patient(ServerConfig.model_construct(**settings), None, file, {}, url)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_a_taken_port_is_named_be_it_the_first_or_the_next_one(taken: int) -> None:
    [first, *_] = await check_ports(patient(port=taken))
    [*_, second] = await check_ports(patient(port=taken - 1))

    for found in (first, second):
        assert found.status is Status.FAILED
        assert found.message == f"Port {taken} on 127.0.0.1 is taken."
        assert "--port" in (found.fix or "")


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"port": 0}, Status.OK),
        ({"transport": "stdio"}, Status.SKIPPED),
        ({"url": "http://127.0.0.1:1/mcp"}, Status.SKIPPED),
        ({"host": "192.0.2.1"}, Status.FAILED),
        ({"host": "a" * 70}, Status.FAILED),
    ],
)
async def test_ports_that_are_not_needed_and_hosts_that_are_none(
    settings: dict[str, Any], status: Status
) -> None:
    assert {each.status for each in await check_ports(patient(**settings))} == {status}


async def test_a_place_that_can_t_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    below = tmp_path / "file" / "logs"

    log, metrics, cache = await check_permissions(
        patient(log_file=below / "log", metrics_directory=below)
    )

    assert (log.status, metrics.status) == (Status.FAILED, Status.FAILED)
    assert "log_file needs it" in log.message
    assert cache.status is Status.WARNING
    assert "XDG_CACHE_HOME" in (cache.fix or "")


def test_what_can_t_be_looked_at_can_t_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()

    def stat(path: Any, **options: Any) -> os.stat_result:
        # Tests may run as root, whom the system lets in everywhere.
        if locked in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return looked_up(path, **options)

    def access(path: Any, mode: int) -> bool:
        return path != locked and allowed(path, mode)

    looked_up, allowed = os.stat, os.access
    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "access", access)

    assert not places._writable(locked / "logs" / "today")
    assert places._writable(tmp_path / "logs")


@pytest.mark.parametrize(
    "settings",
    [
        {"database_url": "postgresql://u:hunter2@h/d"},
        {"otlp_endpoint": "https://u:hunter2@h"},
        {"jwt_secret": "hunter2"},
    ],
)
async def test_secrets_that_all_can_read_are_warned_of(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings))
    (tmp_path / ".env").write_text("")
    for each in (file, tmp_path / ".env"):
        each.chmod(0o644)

    one, other = await check_permissions(patient(file=file))
    assert (one.fix, other.fix) == ("chmod 600 .env", f"chmod 600 {file}")

    for each in (file, tmp_path / ".env"):
        each.chmod(0o600)
    assert [each.status for each in await check_permissions(patient(file=file))] == [Status.OK]


async def test_a_file_without_secrets_may_be_read_by_all(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"port": 4001}')
    file.chmod(0o644)

    assert places._open_secrets(file) == []
