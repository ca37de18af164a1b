"""`ServerConfig`: every setting, where it comes from, and what is unsafe.

A value comes from the arguments (the command line's flags), else from the environment, else from
the files in `MCP_SECRETS_DIR`, else from the JSON file named by `MCP_CONFIG_FILE`, else from its
default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self

from pydantic import (
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from kailash_mcp_prod.config_features import FeatureSettings
from kailash_mcp_prod.config_file import CONFIG_FILE_VARIABLE, read_settings
from kailash_mcp_prod.config_guard import GuardSettings
from kailash_mcp_prod.config_limits import LimitSettings
from kailash_mcp_prod.config_observing import ObservingSettings
from kailash_mcp_prod.config_secrets import SECRETS_DIR_VARIABLE, SecretFiles
from kailash_mcp_prod.config_serving import ServingSettings
from kailash_mcp_prod.config_tokens import MIN_SECRET_BYTES, TokenSettings, is_short
from kailash_mcp_prod.config_values import (
    check_endpoint,
    check_strength,
    is_loopback,
)
from kailash_mcp_prod.errors import ConfigError

ENV_PREFIX = "MCP_"
_chosen_file: ContextVar[Path | None] = ContextVar("chosen_file", default=None)


class ServerConfig(
    FeatureSettings,
    GuardSettings,
    LimitSettings,
    ObservingSettings,
    TokenSettings,
    ServingSettings,
):
    """The settings of a server.

    Raises:
        pydantic.ValidationError: A key is unknown, or a value is wrong or unsafe. Values are
            never shown. `ServerConfig.load` raises `ConfigError` with a plain text instead.
        ConfigError: The configuration file or the files of secrets can't be read.

    Example:
        `ServerConfig(port=4001, enable_auth=False)`
    """

    model_config = SettingsConfigDict(
        defer_build=False,
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    _run_secret: bytes | None = PrivateAttr(None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files of secrets, then the file."""
        sources = [init_settings, env_settings]
        if directory := os.environ.get(SECRETS_DIR_VARIABLE):
            sources.append(SecretFiles(settings_cls, Path(directory)))
        if file := _chosen_file.get() or os.environ.get(CONFIG_FILE_VARIABLE):
            sources.append(InitSettingsSource(settings_cls, read_settings(Path(file))))
        return tuple(sources)

    @classmethod
    def load(
        cls, flags: Mapping[str, Any], file: Path | None = None, run_secret: bytes | None = None
    ) -> Self:
        """The settings of a command.

        Args:
            flags: What the command line says, by key.
            file: The JSON file, instead of the one in `MCP_CONFIG_FILE`.
            run_secret: Takes the place of what is new in each run.

        Raises:
            ConfigError: A file can't be read, a key is unknown, or a value is wrong or unsafe.
        """
        chosen = _chosen_file.set(file)
        try:
            config = cls(**flags)
        except ValidationError as error:
            raise ConfigError(_describe(error, cls)) from None
        finally:
            _chosen_file.reset(chosen)
        if run_secret is not None:
            config._run_secret = run_secret
        return config

    @model_validator(mode="before")
    @classmethod
    def _development_needs_no_credentials(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("mode") == "development":
            return {"enable_auth": False, **values}
        if isinstance(values, dict) and values.get("mode") == "nexus-integration":
            return _on_nexus(values)
        return values

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if not self.enable_http_transport and self.transport in {"http", "all"}:
            raise ValueError("enable_http_transport is off, so use --transport stdio or websocket")
        if self.mode == "nexus-integration" and self.transport == "stdio":
            raise ValueError("mode nexus-integration serves HTTP and WebSocket, not stdio")
        if self.connect is not None:
            if self.transport != "stdio":
                raise ValueError("connect needs --transport stdio")
            credential = self.api_key is not None or self.token is not None
            check_endpoint(self.connect, credential=credential, insecure=self.insecure)
            return self
        if self.cursor_secret is not None and is_short(self.cursor_secret):
            raise ValueError(f"cursor_secret needs at least {MIN_SECRET_BYTES} bytes")
        self._check_workers()
        self._check_cache_backend()
        self.check_resource()
        self._check_roles()
        if self.enable_auth:
            self.check_credentials()
            self._check_strength()
        elif self.transport != "stdio" and not is_loopback(self.host) and not self.insecure:
            raise ValueError(
                f"without authentication the server only listens on loopback, not on {self.host}. "
                "Turn enable_auth on, or say --insecure if everybody on the network may do "
                "everything"
            )
        return self

    def _check_workers(self) -> None:
        if self.workers == 1:
            return
        if self.transport == "stdio":
            raise ValueError(
                "several workers need a transport with ports: each client over stdio starts a "
                "server of its own. Leave --workers out, or use --transport http"
            )
        if self.mode == "nexus-integration":
            raise ValueError(
                "mode nexus-integration serves in one process: leave --workers out, and run "
                "replicas behind a load balancer"
            )
        if self.enable_caching and self.redis_url is None:
            raise ValueError(
                "enable_caching with several workers needs redis_url: a worker has to hear what "
                "the others write"
            )

    def _check_cache_backend(self) -> None:
        if self.cache_backend == "memory":
            return
        if self.redis_url is None:
            raise ValueError("cache_backend redis needs redis_url")
        if self.cursor_key is None:
            raise ValueError(
                "cache_backend redis needs cursor_secret or jwt_secret, the same in all replicas: "
                "what is kept in Redis is sealed with it"
            )

    def _check_roles(self) -> None:
        """Refuses a key with a role that means nothing: more likely a name was misspelt."""
        rules = [self.access_rules, *(role.access_rules for role in self.roles.values())]
        known = {*self.roles}.union(
            *(rule.except_roles for each in rules for rule in each.values())
        )
        for setting, keys in (("api_keys", self.api_keys), ("bearer_tokens", self.bearer_tokens)):
            for position, entry in enumerate(keys.values(), start=1):
                for role in entry.roles:
                    if role not in known:
                        raise ValueError(
                            f"{setting}: key number {position} has the role {role}, which is not "
                            f"in roles. Known are: {', '.join(sorted(known)) or 'none'}"
                        )

    def _check_strength(self) -> None:
        if self.transport == "stdio" or self.insecure:
            return
        for kind, setting, keys in (
            ("api_key", "api_keys", self.api_keys),
            ("bearer", "bearer_tokens", self.bearer_tokens),
        ):
            if kind in self.credential_kinds:
                check_strength(setting, keys, self.host)

    @property
    def cursor_key(self) -> bytes | None:
        """What signs page cursors and seals what is in Redis, the same in all replicas.

        `None` when there is no secret.
        API keys are no such secret: clients hold cursors, and could try out short keys on them.
        """
        secret = self.cursor_secret or self.jwt_secret
        return None if secret is None else secret.get_secret_value().encode()

    @property
    def run_key(self) -> bytes:
        """The same, or without a secret one that is new in each run, and the same in its workers.

        For what need not outlast the run.
        """
        if self._run_secret is None:
            self._run_secret = secrets.token_bytes(32)
        return self.cursor_key or self._run_secret

    @property
    def serves_dashboard(self) -> bool:
        """Whether there is a dashboard."""
        if self.transport == "stdio":
            return False
        if self.enable_dashboard is None:
            return self.enable_auth or is_loopback(self.host)
        return self.enable_dashboard

    @property
    def former_audit_keys(self) -> list[bytes]:
        """What has sealed entries of the audit before `cursor_key` did."""
        return [each.get_secret_value().encode() for each in self.audit_former_secrets]


def _on_nexus(values: dict[str, Any]) -> dict[str, Any]:
    """Settings for a Nexus app that asks for credentials itself, unless ours are to count."""
    if values.get("nexus_auth", "nexus") != "nexus":
        return values
    return {**values, "auth_type": "custom"}


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
    known = {*meant.values(), CONFIG_FILE_VARIABLE, SECRETS_DIR_VARIABLE}
    found = {}
    for name in environment:
        if name.startswith(ENV_PREFIX) and name not in known:
            similar = difflib.get_close_matches(name, meant, n=1, cutoff=0.85)
            if similar:
                found[name] = meant[similar[0]]
    return found


def _describe(error: ValidationError, config: type[BaseSettings]) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        key = ".".join(str(step) for step in problem["loc"][:1])
        if problem["type"] == "extra_forbidden":
            similar = difflib.get_close_matches(key, config.model_fields, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            lines.append(f"Unknown configuration key '{key}'.{hint}")
        else:
            text = problem["msg"].removeprefix("Value error, ").rstrip(".")
            if (
                key in {"models", "nexus", "workflows"}
                and problem["type"] == "string_pattern_mismatch"
            ):
                text = "Name it as module:attribute, such as shop.models:db"
            lines.append(f"{key}: {text}." if key else f"{text}.")
    return "\n".join(lines)
