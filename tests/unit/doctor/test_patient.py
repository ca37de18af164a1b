from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.doctor.finding import Status
from kailash_mcp_prod.doctor.patient import patient
from kailash_mcp_prod.doctor.settings import check_configuration


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {
            *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS")
        }:
            monkeypatch.delenv(name)


def written(folder: Path, settings: Any) -> Path:
    file = folder / "settings.json"
    file.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return file


async def test_good_settings_are_taken(tmp_path: Path) -> None:
    file = written(tmp_path, {"enable_auth": False, "transport": "stdio"})
    found = patient({"models": "shop:db"}, file)

    assert found.refusal is None
    assert found.config.models == "shop:db"
    [finding] = await check_configuration(found)
    assert finding.status is Status.OK


async def test_a_server_that_asks_nobody_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_ENABLE_AUTH", "false")
    monkeypatch.setenv("MCP_MAX_SESSION", "3")

    one, other = await check_configuration(patient({}, None))

    assert (one.status, other.status) == (Status.WARNING, Status.WARNING)
    assert other.message == "The variable MCP_MAX_SESSION is no setting."
    assert other.fix == "Is MCP_MAX_SESSIONS meant?"


def test_settings_without_credentials_are_read_all_the_same() -> None:
    found = patient({"database_url": "sqlite:///a.db"}, None)

    assert "no credential is configured" in (found.refusal or "")
    assert found.config.database_url == "sqlite:///a.db"


@pytest.mark.parametrize(
    "settings", ["{", {"prot": 1, "port": 4001}, {"log_level": 3, "port": 4001}]
)
async def test_of_a_broken_file_what_is_right_is_read(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://r")
    found = patient({}, written(tmp_path, settings))

    assert found.config.port == (3001 if settings == "{" else 4001)
    assert found.config.redis_url == "redis://r"
    assert found.config.models == "models:db"
    [finding] = await check_configuration(found)
    assert finding.status is Status.FAILED


def test_a_missing_file_and_a_wrong_port_leave_the_defaults(tmp_path: Path) -> None:
    found = patient({"port": "many"}, tmp_path / "missing.json")

    assert "does not exist" in (found.refusal or "")
    assert found.config.port == 3001
