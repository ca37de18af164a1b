from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kailash_mcp_prod.config import ServerConfig, misspelt_variables
from kailash_mcp_prod.errors import ConfigError

SECRET = "correct-horse-battery-staple-and-more"
OTHER = "another-secret-of-more-than-32-bytes"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("MCP_") or name in {
            *("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "API_KEYS")
        }:
            monkeypatch.delenv(name)
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("MCP_SECRETS_DIR", str(made))
    return made


def jwt_secret_of(config: ServerConfig) -> str:
    assert config.jwt_secret is not None
    return config.jwt_secret.get_secret_value()


@pytest.mark.parametrize("name", ["JWT_SECRET", "jwt_secret"])
def test_a_file_sets_the_setting_of_its_name(directory: Path, name: str) -> None:
    (directory / name).write_text(f"{SECRET}\n")

    assert jwt_secret_of(ServerConfig.load({})) == SECRET


def test_values_are_read_as_those_of_variables(directory: Path) -> None:
    (directory / "API_KEYS").write_text(json.dumps({"key": {"permissions": ["*"]}}))
    (directory / "MCP_ROLES").write_text(json.dumps({"clerk": {"permissions": ["Quote:*"]}}))
    (directory / "DATABASE_URL").write_text("postgresql://user:word@db/app\n")

    config = ServerConfig.load({})

    assert set(config.api_keys) == {"key"}
    assert set(config.roles) == {"clerk"}
    assert config.database_url == "postgresql://user:word@db/app"


def test_the_environment_comes_before_the_files_and_these_before_the_configuration(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "JWT_SECRET").write_text(SECRET)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"jwt_secret": OTHER}))

    assert jwt_secret_of(ServerConfig.load({}, file)) == SECRET
    monkeypatch.setenv("JWT_SECRET", OTHER)
    assert jwt_secret_of(ServerConfig.load({}, file)) == OTHER


def test_files_as_kubernetes_mounts_them_are_read(directory: Path) -> None:
    version = directory / "..2026_01_01"
    version.mkdir()
    (version / "JWT_SECRET").write_text(SECRET)
    (directory / "..data").symlink_to(version.name)
    (directory / "JWT_SECRET").symlink_to("..data/JWT_SECRET")

    assert jwt_secret_of(ServerConfig.load({})) == SECRET


def test_other_and_empty_files_are_left_alone(directory: Path) -> None:
    (directory / "JWT_SECRET").write_text(SECRET)
    (directory / "postgres_password").write_text("x")
    (directory / "REDIS_URL").write_text("")
    (directory / "kubernetes.io").mkdir()

    assert ServerConfig.load({}).redis_url is None


@pytest.mark.parametrize("name", ["nowhere", "x" * 300])
def test_a_missing_directory_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_SECRETS_DIR", str(tmp_path / name))

    with pytest.raises(ConfigError, match="is no directory"):
        ServerConfig.load({"enable_auth": False})


def test_a_malformed_value_is_refused_without_being_told(directory: Path) -> None:
    (directory / "JWT_SECRET").write_text(SECRET)
    (directory / "MCP_ROLES").write_text("{not-json-but-secret")

    with pytest.raises(ConfigError, match=r"^roles: ") as refused:
        ServerConfig.load({})
    assert "not-json" not in str(refused.value)


def test_a_directory_in_place_of_a_file_is_refused(directory: Path) -> None:
    (directory / "JWT_SECRET").mkdir()

    with pytest.raises(ConfigError, match="can't be used"):
        ServerConfig.load({"enable_auth": False})


def test_the_variable_is_known() -> None:
    assert misspelt_variables({"MCP_SECRETS_DIR": "/run/secrets"}) == {}
