from __future__ import annotations

import re
from pathlib import Path

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_file import read_settings
from kailash_mcp_prod.starter.settings_file import settings_file


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MCP_CONFIG_FILE", "DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS"):
        monkeypatch.delenv(name, raising=False)


def test_as_it_is_the_file_sets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.jsonc"
    file.write_text(settings_file())

    assert read_settings(file) == {}


def test_without_the_comment_signs_every_key_has_its_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.jsonc"
    file.write_text(re.sub(r'^  // (?="\w+": )', "  ", settings_file(), flags=re.MULTILINE))

    assert list(read_settings(file)) == list(ServerConfig.model_fields)
    assert ServerConfig.load({"enable_auth": False}, file) == ServerConfig(enable_auth=False)


def test_every_key_is_explained_with_its_variable() -> None:
    text = " ".join(re.sub(r"^ *//", "", settings_file(), flags=re.MULTILINE).split())

    for key, field in ServerConfig.model_fields.items():
        assert " ".join((field.description or "").split()) in text
        assert f'"{key}": ' in text
    assert "In the environment: MCP_PORT." in text
    assert "A secret: better in the environment, as JWT_SECRET." in text
