from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import all_settings
from kailash_mcp_prod.config_schema import settings_schema

SCHEMA = settings_schema()


def test_it_is_a_schema_of_every_key_and_no_other() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(SCHEMA["properties"]) == ["$schema", *ServerConfig.model_fields]
    assert all(each["description"] for each in SCHEMA["properties"].values())


def test_it_takes_every_default() -> None:
    Draft202012Validator(SCHEMA).validate({each.key: each.default for each in all_settings()})


@pytest.mark.parametrize(
    ("settings", "good"),
    [
        ({"$schema": "./settings.schema.json", "port": 4001}, True),
        ({"auth_type": "jwt"}, True),
        ({"auth_type": ["jwt", "api_key"]}, True),
        ({"api_keys": {"k": {"permissions": ["*"], "rate_limit": 1}}}, True),
        ({"access_rules": {"Quote": {"hide": ["margin"]}}}, True),
        ({"prot": 4001}, False),
        ({"port": 70000}, False),
        ({"log_level": "LOUD"}, False),
        ({"api_keys": {"k": {"permission": ["*"]}}}, False),
    ],
)
def test_it_tells_good_settings_from_wrong_ones(settings: dict[str, Any], good: bool) -> None:
    assert Draft202012Validator(SCHEMA).is_valid(settings) is good
