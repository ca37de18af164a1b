from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.config_catalogue import SECRET_KEYS
from kailash_mcp_prod.config_sources import (
    MASK,
    Effectives,
    Source,
    effective_settings,
    masked_address,
)

SECRET = "hunter2-which-nobody-may-see-anywhere"


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


def told(found: Effectives) -> dict[str, tuple[Any, Source]]:
    return {
        each.setting.key: (each.value, each.source)
        for each in found.settings
        if each.source is not Source.DEFAULT
    }


def test_each_value_is_told_with_the_source_that_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"port": 1, "max_sessions": 2, "log_level": "ERROR", "allowed_hosts": "a, b"}
    monkeypatch.setenv("MCP_PORT", "3")
    monkeypatch.setenv("mcp_max_sessions", "4")
    monkeypatch.setenv("MCP_HOST", "")

    found = effective_settings({"port": "5", "enable_auth": False}, written(tmp_path, settings))

    assert found.problem is None
    assert told(found) == {
        "port": (5, Source.OPTION),
        "enable_auth": (False, Source.OPTION),
        "max_sessions": (4, Source.ENVIRONMENT),
        "log_level": ("ERROR", Source.FILE),
        "allowed_hosts": (["a", "b"], Source.FILE),
    }


def test_what_the_mode_changes_is_told_of_the_mode() -> None:
    assert told(effective_settings({"mode": "development"}, None)) == {
        "mode": ("development", Source.OPTION),
        "enable_auth": (False, Source.MODE),
    }


def test_the_file_of_the_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, {"enable_auth": False})
    monkeypatch.setenv("MCP_CONFIG_FILE", str(file))

    found = effective_settings({}, None)

    assert (found.file, told(found)) == (file, {"enable_auth": (False, Source.FILE)})


@pytest.mark.parametrize("refused", [False, True])
def test_no_secret_is_told_wherever_it_stands(
    refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {SECRET: {"permissions": ["*"]}}
    secrets: dict[str, Any] = {
        key: entries if key in {"api_keys", "bearer_tokens"} else SECRET for key in SECRET_KEYS
    }
    secrets |= {
        "audit_former_secrets": [SECRET],
        "jwt_public_key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        "database_url": f"postgresql://u:{SECRET}@h/d?password={SECRET}",
        "otlp_endpoint": f"https://u:{SECRET}@h:4318/v1",
    }
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@h:1/0")
    further: dict[str, Any] = {}
    if refused:
        further = {"prot": SECRET, "port": 70000, "jwks_url": f"https://u:{SECRET}@h/keys"}
    file = written(tmp_path, {**secrets, **further})

    found = effective_settings({"jwt_audience": "us"}, file)

    assert SECRET not in json.dumps([each.value for each in found.settings])
    assert SECRET not in (found.problem or "")
    values = told(found)
    assert all(values[key] == (MASK, Source.FILE) for key in SECRET_KEYS)
    assert values["database_url"] == ("postgresql://***@h/d", Source.FILE)
    assert values["otlp_endpoint"] == ("https://***@h:4318/v1", Source.FILE)
    assert values["redis_url"] == ("redis://***@h:1/0", Source.ENVIRONMENT)


def test_refused_settings_are_told_as_they_were_given(tmp_path: Path) -> None:
    found = effective_settings({}, written(tmp_path, {"port": "many", "prot": 1}))

    assert "Unknown configuration key 'prot'. Did you mean port?" in (found.problem or "")
    assert told(found) == {"port": ("many", Source.FILE)}


def test_a_file_that_can_t_be_read_is_the_problem(tmp_path: Path) -> None:
    found = effective_settings({"enable_auth": False}, written(tmp_path, "{"))

    assert "not valid JSON" in (found.problem or "")
    assert told(found) == {"enable_auth": (False, Source.OPTION)}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////srv/app.db", "sqlite:////srv/app.db"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://u@h:5/d", "postgresql://***@h:5/d"),
        ("postgresql://u:p@[::1]:5/d?sslkey=p", "postgresql://***@[::1]:5/d"),
        ("postgresql://u:12/p@h/d", MASK),
        ("postgresql://u:p#q@h/d", MASK),
        ("postgresql://u:p?q@h/d", MASK),
        ("postgresql://u:p[q@h/d", MASK),
        ("p@ssword", MASK),
    ],
)
def test_an_address_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert masked_address(url) == shown


def test_a_file_of_a_secret_is_a_source_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jwt_secret").write_text(SECRET)
    (tmp_path / "MCP_PORT").write_text("7")
    monkeypatch.setenv("MCP_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("MCP_PORT", "8")

    assert told(effective_settings({}, None)) == {
        "jwt_secret": (MASK, Source.SECRETS),
        "port": (8, Source.ENVIRONMENT),
    }
