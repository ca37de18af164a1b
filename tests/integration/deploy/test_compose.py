"""compose.yaml is valid, and its services get no more than they need."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import yaml
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.config import ServerConfig
from tests.e2e.servers import ROOT
from tests.integration.deploy.test_dockerfile import SETTINGS
from tests.redis_server import free_port

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROGRAMS = Path(sys.executable).parent
MOUNT = "/run/secrets/"
PASSWORD = "the-password-of-a-redis-that-is-only-tested"


def problems(document: Any) -> list[str]:
    """What is wrong by the schema of the Compose Specification, as check-jsonschema has it."""
    place = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(place.read_text("utf-8"))
    # The draft is the one that the schema names: another one would not know all of its words.
    validator = jsonschema.validators.validator_for(schema, default=None)(schema)
    return [error.message for error in validator.iter_errors(document)]


def test_the_file_is_valid() -> None:
    assert problems(COMPOSE) == []


def test_the_schema_finds_what_is_wrong() -> None:
    assert problems({**COMPOSE, "services": {"server": {"imge": "x"}}})


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"] == {"driver": "local"}
    tag = service["image"].partition(":")[2]
    assert re.match(r"\d", tag), "neither `latest` nor none"


def test_the_image_is_that_of_this_version() -> None:
    assert SERVICES["server"]["image"] == f"kailash-mcp-prod:{__version__}"


def test_the_server_is_killed_after_it_has_drained() -> None:
    config = ServerConfig.load({"jwt_secret": PASSWORD})
    seconds = float(SERVICES["server"]["stop_grace_period"].removesuffix("s"))
    assert seconds > config.shutdown_grace_seconds + config.drain_seconds + 2


def test_only_the_server_is_reached_and_only_from_this_machine() -> None:
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["server"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["server"]["ports"])
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert [SERVICES[name]["networks"] for name in ("postgres", "redis")] == [["back"], ["back"]]


def test_what_the_server_waits_for_has_a_health_check() -> None:
    for name, how in SERVICES["server"]["depends_on"].items():
        assert how == {"condition": "service_healthy"}
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_secrets_are_files_and_settings_are_settings() -> None:
    given = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert given == set(COMPOSE["secrets"])
    assert {name.upper() for name in SERVICES["server"]["secrets"]} <= SETTINGS
    assert set(SERVICES["server"]["environment"]) <= SETTINGS


def test_every_service_gets_passwords_from_files_alone() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert "URL" not in name
            assert "PASSWORD" not in name or (name.endswith("_FILE") and value.startswith(MOUNT))


def test_redis_asks_for_the_password_of_its_file(tmp_path: Path) -> None:
    """Its command and its health check are run as they stand, but for places and the port."""
    (tmp_path / "redis_password").write_text(PASSWORD + "\n")
    port = free_port()

    def here(arguments: list[str]) -> list[str]:
        # What Compose itself makes of them.
        plain = [each.replace("$$", "$").replace(MOUNT, f"{tmp_path}/") for each in arguments]
        assert not any(PASSWORD in each for each in plain)
        return [
            each.replace("requirepass", f"port {port}\nbind 127.0.0.1\nrequirepass").replace(
                "redis-cli", f"redis-cli -p {port}"
            )
            for each in plain
        ]

    path = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    [kind, *check] = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD"

    def is_healthy() -> bool:
        return subprocess.run(here(check), check=False, env=path, cwd=tmp_path).returncode == 0

    assert not is_healthy()
    with subprocess.Popen(
        here(SERVICES["redis"]["command"]), env=path, cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as process:
        try:
            with Redis(
                port=port, password=PASSWORD, retry=Retry(ConstantBackoff(0.1), 100)
            ) as known:
                assert known.ping()
                assert known.config_get("maxmemory") == {"maxmemory": str(200 * 2**20)}
                assert known.config_get("save") == {"save": ""}
            with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
                stranger.ping()
            assert is_healthy()
            assert PASSWORD not in " ".join(psutil.Process(process.pid).cmdline())
            (tmp_path / "redis_password").write_text("another")
            assert not is_healthy()
        finally:
            process.terminate()
