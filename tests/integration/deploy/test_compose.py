"""compose.yaml is valid, and its services get no more than they need."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from tests.e2e.servers import ROOT
from tests.integration.deploy.test_dockerfile import SETTINGS

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/docker/compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


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
    assert ":" in service["image"]


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
