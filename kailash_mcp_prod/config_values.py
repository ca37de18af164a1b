"""Values of settings that are more than a word or a number, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import NoDecode

from kailash_mcp_prod.tools.surfaces.names import CHOICES, is_surface


def _surface(name: str) -> str:
    if not is_surface(name):
        raise ValueError(f"must be {', '.join(CHOICES)}, or models/ and names of models")
    return name


class ApiKeyEntry(BaseModel):
    """What one API key stands for.

    `tenant_id` is the tenant whose records it reaches in multi-tenant models; `rate_limit` is in
    calls a minute; `surface` is the surface of tools that it is shown by default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent_id: str | None = None
    tenant_id: str | None = Field(default=None, min_length=1)
    permissions: tuple[str, ...] = ()
    rate_limit: int | None = Field(default=None, ge=1)
    surface: Annotated[str, AfterValidator(_surface)] | None = None


def split_words(value: Any) -> Any:
    """A list as JSON or as text with commas."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            return json.loads(text)
        return [part.strip() for part in text.split(",") if part.strip()]
    return value


def read_keys(value: Any) -> dict[str, ApiKeyEntry]:
    """The keys, from JSON or a mapping; errors count them, because the keys are secrets."""
    try:
        entries = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, Mapping) or not all(isinstance(key, str) for key in entries):
        raise ValueError('must be an object such as {"<key>": {"permissions": ["*"]}}')
    keys = {}
    for position, (key, entry) in enumerate(entries.items(), start=1):
        if not key.strip():
            raise ValueError(f"key number {position} is empty")
        try:
            keys[key] = ApiKeyEntry.model_validate(entry)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(step) for step in ("", *problem["loc"]))
            raise ValueError(f"key number {position}{where}: {problem['msg']}") from None
    return keys


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
