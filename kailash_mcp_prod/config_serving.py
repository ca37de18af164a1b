"""The settings of what is served, and how clients connect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from kailash_mcp_prod.config_values import split_words
from kailash_mcp_prod.records.operations import DEFAULT_OPERATIONS, Operation


class ServingSettings(BaseSettings):
    """What is served, from where, and how clients connect."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    mode: Literal["standalone", "development", "nexus-integration"] = Field(
        "standalone",
        description=(
            "development: no authentication on loopback, sample data. nexus-integration: serve a "
            "Nexus app with MCP on its port."
        ),
    )
    nexus: str = Field(
        "app:app",
        pattern=r"^[\w.]+:\w+$",
        description="The Nexus app of the mode nexus-integration, as module:attribute.",
    )
    nexus_auth: Literal["nexus", "own"] = Field(
        "nexus",
        description=(
            "Who tells in that mode who clients are: the Nexus app, or the credentials of this "
            "configuration."
        ),
    )
    transport: Literal["http", "stdio", "websocket", "all"] = Field(
        "http", description="How clients connect; all is HTTP and WebSocket on one port."
    )
    connect: str | None = Field(
        None,
        repr=False,
        description=(
            "With the transport stdio: relay to the running server at this address, such as "
            "http://127.0.0.1:3001/mcp, instead of serving."
        ),
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(
        3001, ge=0, le=65534, description="Port of MCP; REST is on the next one. 0: any free ones."
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Processes that serve on the same ports. SIGHUP replaces them one after another."
        ),
    )
    worker_timeout_seconds: float = Field(
        30,
        ge=1,
        le=86400,
        description=(
            "With several workers: one whose event loop gives no sign of life for that long is "
            "ended, and another one started."
        ),
    )
    models: str = Field(
        "models:db",
        pattern=r"^[\w.]+:\w+$",
        description="The DataFlow instance, as module:attribute.",
    )
    workflows: str = Field(
        "workflows:registry",
        pattern=r"^[\w.]+:\w+$",
        description=(
            "The WorkflowRegistry of the application's workflows, as module:attribute. The default "
            "one need not be there."
        ),
    )
    database_url: str | None = Field(
        None,
        validation_alias="database_url",
        repr=False,
        description="Database of the models, handed to them as DATABASE_URL.",
    )
    operations: Annotated[tuple[Operation, ...], NoDecode, BeforeValidator(split_words)] = Field(
        DEFAULT_OPERATIONS,
        min_length=1,
        description=(
            "The operations each model gets; upsert, count and aggregate are off by default."
        ),
    )
    execution: Literal["auto", "sql", "nodes"] = Field(
        "auto",
        description=(
            "How records are read and written: sql is fast, nodes runs DataFlow's generated nodes, "
            "auto takes nodes only for models with options that sql lacks."
        ),
    )
    auto_migrate: bool = Field(
        True,
        description=(
            "Make missing tables, columns and indexes at the start. Off: check, and say what is "
            "missing."
        ),
    )
    instant_start: bool = Field(
        True,
        description=(
            "Over stdio, serve from what an earlier start has noted of the models and tables, "
            "while it holds, instead of importing the application."
        ),
    )
    wait_for_db: float = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds to wait at the start for a database that does not answer yet.",
    )
    cursor_secret: SecretStr | None = Field(
        None,
        description=(
            "Signs page cursors and ids of sessions and seals cached reads in Redis, at least 32 "
            "bytes; by default jwt_secret does, else a secret that is new at each start. "
            "Several replicas without jwt_secret need it."
        ),
    )
    surface: Literal["full", "compact", "search"] = Field(
        "full",
        description=(
            "The tools that clients are shown whose URL and credential name no surface: all, a few "
            "for all models, or a search."
        ),
    )
    list_output_schemas: bool = Field(
        False,
        description=(
            "Send exact schemas in tool lists, those of results too; they make lists four times "
            "as long."
        ),
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What is logged to stderr."
    )
    enable_http_transport: bool = Field(True, description="Allow transports with MCP over HTTP.")
    connection_pool_size: int = Field(10, ge=1, description="Open database connections.")
    connection_pool_max_overflow: int = Field(10, ge=0, description="Further ones under load.")
    connection_recycle_seconds: int = Field(3600, ge=1, description="Age of a connection.")
