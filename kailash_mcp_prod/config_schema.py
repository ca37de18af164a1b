"""The JSON Schema of a settings file, for editors."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BeforeValidator

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.config_catalogue import all_settings
from kailash_mcp_prod.config_file import SCHEMA_KEY
from kailash_mcp_prod.config_values import split_words

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def settings_schema() -> dict[str, Any]:
    """The schema: every key with its meaning, its default and what it may be, and no others."""
    generated = ServerConfig.model_json_schema()
    properties: dict[str, Any] = {SCHEMA_KEY: {"type": "string", "description": "This schema."}}
    for setting in all_settings():
        found = {
            name: value
            for name, value in generated["properties"][setting.key].items()
            if name != "title"
        }
        if _takes_words(setting.key):
            described = {name: found.pop(name) for name in ("description", "default")}
            found = {"anyOf": [found, {"type": "string"}], **described}
        if setting.secret:
            found["description"] += f" Better in the environment, as {setting.variable}."
        properties[setting.key] = found
    return {
        "$schema": _DIALECT,
        "title": "Settings of kailash-mcp-prod",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": generated["$defs"],
    }


def _takes_words(key: str) -> bool:
    """Whether a text with commas may take the place of a list."""
    return any(
        isinstance(each, BeforeValidator) and each.func is split_words
        for each in ServerConfig.model_fields[key].metadata
    )
