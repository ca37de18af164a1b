"""The settings of what keeps a server well: limits, circuit breakers and the Redis they share."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kailash_mcp_prod.config_values import check_redis_url

Kind = Literal["read", "write", "bulk", "session", "workflow", "monitor"]


def _read_rates(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ValueError('must be an object such as {"write": 600}') from None


class GuardSettings(BaseSettings):
    """What clients may do, and how far failures spread."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    redis_url: str | None = Field(
        None,
        validation_alias="redis_url",
        repr=False,
        description=(
            "Redis, such as redis://localhost:6379/0, in which several replicas share their rate "
            "limits and circuit breakers, and tell each other of changes in workspaces."
        ),
    )
    redis_prefix: str = Field(
        "kailash-mcp-prod",
        pattern=r"^[\w.:-]{1,64}$",
        description="What the names of all keys in Redis begin with; one for each application.",
    )
    max_concurrent_requests: int = Field(
        500, ge=1, le=100_000, description="Calls that run at once; as many again may wait."
    )
    request_timeout_seconds: float = Field(30, gt=0, le=3600, description="How long a call takes.")
    rate_limit_per_minute: int = Field(
        6000, ge=1, description="Calls a minute of one principal without a limit of its own."
    )
    global_rate_limit_per_minute: int | None = Field(
        None, ge=1, description="Calls a minute of all principals together; by default any number."
    )
    rate_limits: Annotated[
        dict[Kind, Annotated[int, Field(ge=1)]], NoDecode, BeforeValidator(_read_rates)
    ] = Field(
        default_factory=dict,
        description=(
            "Calls a minute of one principal by the kind of tool (read, write, bulk, session, "
            'workflow, monitor), as JSON: {"write": 600, "bulk": 60}.'
        ),
    )
    drain_seconds: float = Field(
        10,
        ge=0,
        le=3600,
        description="How long running calls may take to finish when the server is told to stop.",
    )
    shutdown_grace_seconds: float = Field(
        0,
        ge=0,
        le=3600,
        description=(
            "How long a server that is told to stop goes on before, so that load balancers can see "
            "that /health/ready answers 503."
        ),
    )
    circuit_breaker_failure_threshold: int = Field(
        5, ge=1, description="Failures of a backend in a row after which calls stop for a while."
    )
    circuit_breaker_recovery_seconds: float = Field(
        30, gt=0, le=3600, description="How long that is; then one call finds out how things are."
    )

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: str | None) -> str | None:
        if url is not None:
            check_redis_url(url)
        return url
