from __future__ import annotations

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import all_settings, variable_of


def test_every_setting_is_there_once_in_order() -> None:
    assert [each.key for each in all_settings()] == list(ServerConfig.model_fields)
    assert all(each.section.endswith(".") for each in all_settings())


@pytest.mark.parametrize(
    ("key", "variable"), [("port", "MCP_PORT"), ("database_url", "DATABASE_URL")]
)
def test_a_setting_has_its_variable(key: str, variable: str) -> None:
    assert variable_of(key) == variable


def test_secrets_have_no_flag_and_no_default() -> None:
    known = {each.key: each for each in all_settings()}

    assert known["max_body_bytes"].flag == "--max-body-bytes"
    for each in known.values():
        assert (each.flag is None) is each.secret
        assert not (each.secret and each.default)
