"""The settings of the features around tools: agents, metrics, audit."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class FeatureSettings(BaseSettings):
    """What there is besides the tools."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    enable_agent_collaboration: bool = Field(True, description="Let agents work together.")
    agent_session_timeout_minutes: float = Field(
        60, gt=0, description="After how long without a call an agent session ends."
    )
    enable_performance_tracking: bool = Field(True, description="Time every call.")
    enable_metrics: bool = Field(True, description="Export metrics.")
    metrics_collection_interval: float = Field(60, gt=0, description="Seconds between samples.")
    enable_agent_analytics: bool = Field(True, description="Figures of each agent.")
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
    audit_mask_fields: tuple[str, ...] = Field(
        (),
        description="Fields whose values are never noted, as field or Model.field; as JSON: [...].",
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
