"""The settings of the features around tools: agents, metrics, audit."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from kailash_mcp_prod.config_values import Words


class FeatureSettings(BaseSettings):
    """What there is besides the tools."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    enable_agent_collaboration: bool = Field(True, description="Let agents work together.")
    agent_session_timeout_minutes: float = Field(
        60, gt=0, description="After how long without a call an agent session ends."
    )
    enable_performance_tracking: bool = Field(
        True, description="Time every request and every call; without it, metrics only count."
    )
    slow_request_ms: float = Field(
        1000, gt=0, description="From how many milliseconds on a call is slow."
    )
    enable_metrics: bool = Field(
        True, description="Keep metrics: for /metrics, get_server_metrics, get_integration_metrics."
    )
    metrics_collection_interval: float = Field(
        60, gt=0, description="Seconds between the samples of the history in get_server_metrics."
    )
    metrics_directory: Path | None = Field(
        None,
        description=(
            "Directory in which the processes of one machine put their metrics together; each run "
            "has its own. By default a process shows its own. With workers they always have one."
        ),
    )
    enable_agent_analytics: bool = Field(
        True, description="Keep figures of each agent, of the first 1,000 by name."
    )
    enable_dashboard: bool | None = Field(
        None,
        description=(
            "Serve the dashboard at /dashboard of the REST port. By default where clients are "
            "asked for a credential, and on loopback."
        ),
    )
    enable_audit: bool = Field(True, description="Note every write and every denial.")
    audit_values: bool = Field(
        False, description="Note the values that are written too, and not only the fields."
    )
    audit_mask_fields: Words = Field(
        (), description="Fields whose values are never noted, as field or Model.field."
    )
    audit_retention_days: float | None = Field(
        None, gt=0, le=36_500, description="How long entries are kept; by default for ever."
    )
    audit_former_secrets: tuple[SecretStr, ...] = Field(
        (),
        repr=False,
        description=(
            "Secrets that cursor_secret or jwt_secret had before, as JSON: [...]. By them "
            "audit verify checks older entries."
        ),
    )
