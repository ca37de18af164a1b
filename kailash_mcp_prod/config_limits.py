"""The settings of how much of everything there may be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kailash_mcp_prod.config_values import Words


class LimitSettings(BaseSettings):
    """How much is taken and kept."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    max_body_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Longest request."
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        description=(
            "Open connections on both ports together, fewer where the process may open few files. "
            "Further ones are answered with 503."
        ),
    )
    keep_alive_seconds: float = Field(
        75,
        ge=1,
        le=3600,
        description=(
            "How long a connection waits for its next request. A load balancer has to close its "
            "own before that."
        ),
    )
    max_sessions: int = Field(1000, ge=1, description="Open MCP sessions (2025-11-25 and older).")
    max_websockets: int = Field(
        1000, ge=1, description="Open WebSockets, a quarter of them of one principal."
    )
    max_messages_per_second: int = Field(
        1000, ge=1, description="Messages a second of one WebSocket."
    )
    websocket_idle_seconds: float = Field(
        1800, gt=0, description="After how long without a message or request a WebSocket ends."
    )
    enable_caching: bool = Field(
        False,
        description=(
            "Cache reads. Writes through the server take effect at once; those of other programs "
            "are only seen after cache_ttl_seconds, so it is off until you know of none."
        ),
    )
    cache_ttl_seconds: float = Field(
        300,
        gt=0,
        le=86_400,
        description="How long a cached read is used, and what other programs write not seen.",
    )
    cache_max_size_mb: float = Field(
        100,
        gt=0,
        le=65_536,
        description="Memory that cached reads take in each process, and in Redis for all.",
    )
    cache_backend: Literal["memory", "redis"] = Field(
        "memory",
        description=(
            "Where cached reads are kept: in each process, or behind that in Redis too, sealed, "
            "for all replicas. The latter needs redis_url, and cursor_secret or jwt_secret."
        ),
    )
    cache_exclude_models: Words = Field((), description="Models whose reads are never cached.")
    enable_compression: bool = Field(True, description="Compress large cached reads with zstd.")
    idempotency_ttl_hours: float = Field(
        24, gt=0, le=8760, description="How long an idempotency key is remembered."
    )
