"""The settings of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ObservingSettings(BaseSettings):
    """What is told to whoever runs the server."""

    # Only the whole is ever read; to prepare its parts too would take time at each start.
    model_config = SettingsConfigDict(defer_build=True)

    log_format: Literal["auto", "console", "json"] = Field(
        "auto",
        description=(
            "How lines look on stderr; auto is console on a terminal and JSON lines elsewhere."
        ),
    )
    log_file: Path | None = Field(
        None, description="A file that gets the log too, as JSON lines; NAME.1 and so on are older."
    )
    log_file_max_mb: float = Field(10, gt=0, le=10_000, description="How large log_file becomes.")
    log_files_kept: int = Field(5, ge=0, le=100, description="How many older ones are kept.")
    enable_tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces to a collector; needs the extra `otel`.",
    )
    otlp_endpoint: str | None = Field(
        None,
        pattern=r"^https?://\S+$",
        description=(
            "The collector's root for OTLP over HTTP, such as http://localhost:4318; by default "
            "what OTEL_EXPORTER_OTLP_ENDPOINT says."
        ),
    )
    trace_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="Which share of the traces is kept."
    )
    log_arguments: bool = Field(
        False,
        description=(
            "Log the arguments of calls and the shape of results too; secrets and hidden fields "
            "are masked."
        ),
    )
