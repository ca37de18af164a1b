"""Values of settings that are more than a word or a number, and how they are read."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)
from pydantic_settings import NoDecode

from kailash_mcp_prod.auth.api_keys import MIN_KEY_LENGTH, configured_digest, is_weak
from kailash_mcp_prod.tools.surfaces.names import CHOICES, is_surface

MAX_CLAIMS_LENGTH = 4096


def _surface(name: str) -> str:
    if not is_surface(name):
        raise ValueError(f"must be {', '.join(CHOICES)}, or models/ and names of models")
    return name


def _small(claims: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(claims)) > MAX_CLAIMS_LENGTH:
        raise ValueError(f"must be at most {MAX_CLAIMS_LENGTH} characters as JSON")
    return claims


class ApiKeyEntry(BaseModel):
    """What one API key stands for.

    `tenant_id` is the tenant whose records it reaches in multi-tenant models; `rate_limit` is in
    calls a minute; `surface` is the surface of tools that it is shown by default; `roles` are sets
    of permissions that the configuration names; with `read_only` it changes nothing; `claims` are
    facts that rules may use; `expires_at` is an instant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent_id: str | None = None
    tenant_id: str | None = Field(default=None, min_length=1)
    permissions: tuple[str, ...] = ()
    rate_limit: int | None = Field(default=None, ge=1)
    surface: Annotated[str, AfterValidator(_surface)] | None = None
    roles: tuple[str, ...] = ()
    read_only: bool = False
    claims: Annotated[dict[str, JsonValue], AfterValidator(_small)] = Field(default_factory=dict)
    expires_at: AwareDatetime | None = None


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
    digests: dict[bytes, int] = {}
    for position, (key, entry) in enumerate(entries.items(), start=1):
        if not key.strip():
            raise ValueError(f"key number {position} is empty")
        try:
            first = digests.setdefault(configured_digest(key), position)
        except ValueError as malformed:
            raise ValueError(f"key number {position}: {malformed}") from None
        if first != position:
            raise ValueError(f"key number {position} is key number {first} again")
        try:
            keys[key] = ApiKeyEntry.model_validate(entry)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(step) for step in ("", *problem["loc"]))
            raise ValueError(f"key number {position}{where}: {problem['msg']}") from None
    return keys


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def weak_keys(keys: Iterable[str]) -> str:
    """The numbers of the keys that are easily guessed, as a text with commas."""
    return ", ".join(str(position) for position, key in enumerate(keys, start=1) if is_weak(key))


def check_strength(setting: str, keys: Iterable[str], host: str) -> None:
    """Checks the keys in plain text of a server that listens there.

    Raises:
        ValueError: Others than this machine could guess one.
    """
    weak = weak_keys(keys)
    if weak and not is_loopback(host):
        raise ValueError(
            f"on {host}, a key needs {MIN_KEY_LENGTH} characters or more, and different ones "
            f"({setting}, number {weak}). Make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


def _parsed(url: str) -> tuple[SplitResult, str | None]:
    """The parts of an address, and its host if it is one at all."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - a number that is none raises
        return parts, parts.hostname
    except ValueError:
        return SplitResult("", "", "", "", ""), None


def check_endpoint(url: str, *, credential: bool, insecure: bool) -> None:
    """Checks the address of a running server.

    Args:
        url: The address.
        credential: Whether a credential is sent there.
        insecure: Whether that may be done where others can read it.

    Raises:
        ValueError: It is no such address, holds a credential, or would give one away.
    """
    parts, host = _parsed(url)
    if not host or parts.scheme not in {"http", "https"} or parts.fragment:
        raise ValueError("connect must be an address such as http://127.0.0.1:3001/mcp")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "connect must not hold a user or password: addresses end up in logs. Set MCP_API_KEY "
            "or MCP_TOKEN"
        )
    if credential and parts.scheme == "http" and not (is_loopback(host) or insecure):
        raise ValueError(
            f"the credential would go to {host} where everybody on the way can read it. Use "
            "https, or say --insecure"
        )


def check_redis_url(url: str) -> None:
    """Checks an address of a Redis without showing it.

    Raises:
        ValueError: It is none.
    """
    parts, host = _parsed(url)
    if not (parts.path if parts.scheme == "unix" else host) or parts.scheme not in {
        "redis",
        "rediss",
        "unix",
    }:
        raise ValueError("must be an address such as redis://localhost:6379/0")


def check_public_address(key: str, url: str) -> None:
    """Checks an address to which clients or secrets are sent.

    Args:
        key: The setting that holds it.
        url: The address.

    Raises:
        ValueError: It is no plain https address; http is for this machine alone.
    """
    parts, host = _parsed(url)
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "\\<>`{|}^')
    if not host or not plain or parts.fragment or parts.username is not None:
        raise ValueError(f"{key} must be an address such as https://auth.example.com/path")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{key} must be an https address: others could answer in its place")


def check_scopes(key: str, scopes: Iterable[str]) -> None:
    """Checks names of scopes.

    Raises:
        ValueError: One has characters that scopes must not have (RFC 6749).
    """
    for scope in scopes:
        if not scope.isascii() or not scope.isprintable() or set(scope) & set(' "\\'):
            raise ValueError(f"{key} must be names without spaces, quotes and backslashes")
