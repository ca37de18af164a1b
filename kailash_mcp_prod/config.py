"""`ServerConfig`: every setting, where it comes from, and what is unsafe.

A value comes from the arguments (the command line's flags), else from the environment, else from
the JSON file named by `MCP_CONFIG_FILE`, else from its default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from kailash_mcp_prod.config_values import (
    ApiKeyEntry,
    Words,
    check_endpoint,
    describe_problems,
    is_loopback,
    read_keys,
    read_settings,
    split_words,
)
from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.records.operations import DEFAULT_OPERATIONS, Operation

MIN_SECRET_BYTES = 32
ENV_PREFIX = "MCP_"
CONFIG_FILE_VARIABLE = "MCP_CONFIG_FILE"
_chosen_file: ContextVar[Path | None] = ContextVar("chosen_file", default=None)

NOT_YET_EFFECTIVE = frozenset(
    {
        "circuit_breaker_failure_threshold",
        "agent_session_timeout_minutes",
        "enable_agent_analytics",
        "enable_agent_collaboration",
        "enable_metrics",
        "enable_performance_tracking",
        "jwt_expiration_hours",
        "metrics_collection_interval",
        "redis_url",
    }
)
"""Keys of the contract whose feature this version does not have; setting one logs a warning."""


class ServerConfig(BaseSettings):
    """The settings of a server.

    Raises:
        pydantic.ValidationError: A key is unknown, or a value is wrong or unsafe. Values are
            never shown. `ServerConfig.load` raises `ConfigError` with a plain text instead.
        ConfigError: The configuration file can't be read.

    Example:
        `ServerConfig(port=4001, enable_auth=False)`
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    mode: Literal["standalone", "development"] = Field(
        "standalone", description="development: no authentication on loopback, sample data."
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
    models: str = Field(
        "models:db",
        pattern=r"^[\w.]+:\w+$",
        description="The DataFlow instance, as module:attribute.",
    )
    database_url: str | None = Field(
        None,
        validation_alias="database_url",
        repr=False,
        description="Database of the models, handed to them as DATABASE_URL.",
    )
    redis_url: str | None = Field(
        None, validation_alias="redis_url", repr=False, description="Redis for several replicas."
    )
    operations: Annotated[tuple[Operation, ...], NoDecode, BeforeValidator(split_words)] = Field(
        DEFAULT_OPERATIONS,
        min_length=1,
        description="The operations each model gets; upsert and count are off by default.",
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
            "Signs page cursors, at least 32 bytes; by default jwt_secret does, else a secret that "
            "is new at each start. Several replicas without jwt_secret need it."
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

    enable_auth: bool = Field(True, description="Ask every client for a credential.")
    auth_type: Annotated[
        tuple[Literal["jwt", "api_key", "custom"], ...], NoDecode, BeforeValidator(split_words)
    ] = Field(
        (),
        description="jwt, api_key, or custom for providers of your own; by default what is set.",
    )
    jwt_secret: SecretStr | None = Field(
        None,
        validation_alias="jwt_secret",
        description="Secret that signs JSON Web Tokens (HS256), at least 32 bytes.",
    )
    jwt_expiration_hours: float = Field(24, gt=0, description="Life of the tokens we mint.")
    tenant_claim: str = Field(
        "tenant_id",
        min_length=1,
        description="The claim of a token that names the caller's tenant.",
    )
    api_keys: Annotated[dict[str, ApiKeyEntry], NoDecode, BeforeValidator(read_keys)] = Field(
        default_factory=dict,
        validation_alias="api_keys",
        repr=False,
        description=(
            'Keys as JSON: {"<key>": {"agent_id", "tenant_id", "permissions": ["*"], '
            '"rate_limit", "surface"}}.'
        ),
    )
    api_key: SecretStr | None = Field(
        None, description="The key with which this process itself calls (stdio, tools, call)."
    )
    token: SecretStr | None = Field(
        None, description="The bearer token with which this process itself calls."
    )
    insecure: bool = Field(
        False, description="Allow a network address without authentication. Anyone may do anything."
    )
    allowed_hosts: Words = Field(
        (), description="Further Host names under which the server is reached; * for any."
    )
    allowed_origins: Words = Field(
        (), description="Further web origins that may call, such as https://app.example.com."
    )

    max_concurrent_requests: int = Field(
        500, ge=1, le=100_000, description="Calls that run at once; as many again may wait."
    )
    request_timeout_seconds: float = Field(30, gt=0, le=3600, description="How long a call takes.")
    rate_limit_per_minute: int = Field(
        6000, ge=1, description="Calls a minute of one principal without a limit of its own."
    )
    max_body_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Longest request."
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

    enable_http_transport: bool = Field(True, description="Allow transports with MCP over HTTP.")
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
        100, gt=0, le=65_536, description="Memory that cached reads take in each process."
    )
    cache_exclude_models: Words = Field((), description="Models whose reads are never cached.")
    enable_compression: bool = Field(True, description="Compress large cached reads with zstd.")
    idempotency_ttl_hours: float = Field(
        24, gt=0, le=8760, description="How long an idempotency key is remembered."
    )
    circuit_breaker_failure_threshold: int = Field(
        5, ge=1, description="Failures of a backend in a row after which calls stop for a while."
    )
    connection_pool_size: int = Field(10, ge=1, description="Open database connections.")
    connection_pool_max_overflow: int = Field(10, ge=0, description="Further ones under load.")
    connection_recycle_seconds: int = Field(3600, ge=1, description="Age of a connection.")
    enable_agent_collaboration: bool = Field(True, description="Let agents work together.")
    agent_session_timeout_minutes: float = Field(60, gt=0, description="Idle time of a session.")
    enable_performance_tracking: bool = Field(True, description="Time every call.")
    enable_metrics: bool = Field(True, description="Export metrics.")
    metrics_collection_interval: float = Field(60, gt=0, description="Seconds between samples.")
    enable_agent_analytics: bool = Field(True, description="Figures of each agent.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        file = _chosen_file.get() or os.environ.get(CONFIG_FILE_VARIABLE)
        if not file:
            return init_settings, env_settings
        file_settings = InitSettingsSource(settings_cls, read_settings(Path(file)))
        return init_settings, env_settings, file_settings

    @classmethod
    def load(cls, flags: Mapping[str, Any], file: Path | None = None) -> Self:
        """The settings of a command.

        Args:
            flags: What the command line says, by key.
            file: The JSON file, instead of the one in `MCP_CONFIG_FILE`.

        Raises:
            ConfigError: The file can't be read, a key is unknown, or a value is wrong or unsafe.
        """
        chosen = _chosen_file.set(file)
        try:
            return cls(**flags)
        except ValidationError as error:
            raise ConfigError(describe_problems(error, cls)) from None
        finally:
            _chosen_file.reset(chosen)

    @model_validator(mode="before")
    @classmethod
    def _development_needs_no_credentials(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("mode") == "development":
            return {"enable_auth": False, **values}
        return values

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if not self.enable_http_transport and self.transport in {"http", "all"}:
            raise ValueError("enable_http_transport is off, so use --transport stdio or websocket")
        if self.connect is not None:
            if self.transport != "stdio":
                raise ValueError("connect needs --transport stdio")
            credential = self.api_key is not None or self.token is not None
            check_endpoint(self.connect, credential=credential, insecure=self.insecure)
            return self
        if self.cursor_secret is not None and _is_short(self.cursor_secret):
            raise ValueError(f"cursor_secret needs at least {MIN_SECRET_BYTES} bytes")
        if self.enable_auth:
            self._check_credentials()
        elif self.transport != "stdio" and not is_loopback(self.host) and not self.insecure:
            raise ValueError(
                f"without authentication the server only listens on loopback, not on {self.host}. "
                "Turn enable_auth on, or say --insecure if everybody on the network may do "
                "everything"
            )
        return self

    def _check_credentials(self) -> None:
        kinds = self.credential_kinds
        if not kinds:
            raise ValueError(
                "authentication is on, but no credential is configured. Set JWT_SECRET or "
                "API_KEYS, or say --no-auth for a server that only this machine reaches"
            )
        if "jwt" in kinds and (self.jwt_secret is None or _is_short(self.jwt_secret)):
            raise ValueError(
                f"jwt_secret needs at least {MIN_SECRET_BYTES} bytes. Make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        if "api_key" in kinds and not self.api_keys:
            raise ValueError("auth_type api_key needs keys. Set API_KEYS")

    @property
    def credential_kinds(self) -> tuple[str, ...]:
        """What clients may present: what `auth_type` says, else what is configured."""
        if self.auth_type:
            return self.auth_type
        return (*(("jwt",) if self.jwt_secret else ()), *(("api_key",) if self.api_keys else ()))

    @property
    def cursor_key(self) -> bytes | None:
        """What signs page cursors, the same in all replicas; `None` when there is no secret.

        API keys are no such secret: clients hold cursors, and could try out short keys on them.
        """
        secret = self.cursor_secret or self.jwt_secret
        return None if secret is None else secret.get_secret_value().encode()

    @property
    def without_effect(self) -> list[str]:
        """Keys that were set although this version does not have their feature."""
        return sorted(self.model_fields_set & NOT_YET_EFFECTIVE)


def _is_short(secret: SecretStr) -> bool:
    return len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES


def misspelt_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like one of ours but are not, each with the one that may be meant.

    Other programs use the prefix `MCP_` too, so a strange one is no error.
    """
    # A few are known by the name that they have everywhere, without the prefix.
    meant = {
        f"{ENV_PREFIX}{name.upper()}": (
            name.upper() if field.validation_alias else f"{ENV_PREFIX}{name.upper()}"
        )
        for name, field in ServerConfig.model_fields.items()
    }
    found = {}
    for name in environment:
        if name.startswith(ENV_PREFIX) and name not in {*meant.values(), CONFIG_FILE_VARIABLE}:
            similar = difflib.get_close_matches(name, meant, n=1, cutoff=0.85)
            if similar:
                found[name] = meant[similar[0]]
    return found
