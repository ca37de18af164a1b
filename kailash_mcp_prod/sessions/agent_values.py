"""An agent session as results show it, and how much an agent may keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

SESSION_PREFIX: Final = "as_"
MAX_SESSIONS: Final = 1_000
MAX_CONTEXT_KEYS: Final = 128
MAX_CONTEXT_BYTES: Final = 65_536
MAX_CAPABILITIES: Final = 64
MAX_METADATA_BYTES: Final = 8_192


Owned = tuple[str, str]
"""The digest of an owner, and the id of a session that it may have."""


def iso(seconds: float) -> str:
    """Unix seconds as results have them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Figures:
    """What calls a session has made, and how long they took in milliseconds."""

    requests: int = 0
    errors: int = 0
    total_ms: float = 0.0
    slowest_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As results have them."""
        return {
            "request_count": self.requests,
            "error_count": self.errors,
            "average_response_time_ms": round(self.total_ms / max(1, self.requests), 3),
            "slowest_response_time_ms": round(self.slowest_ms, 3),
        }


@dataclass(frozen=True, slots=True)
class Activity:
    """Calls of a session that are not stored yet, and when the last one was."""

    figures: Figures
    active_at: float

    def and_then(self, later: Activity) -> Activity:
        """These and later ones."""
        one, other = self.figures, later.figures
        return Activity(
            Figures(
                one.requests + other.requests,
                one.errors + other.errors,
                one.total_ms + other.total_ms,
                max(one.slowest_ms, other.slowest_ms),
            ),
            max(self.active_at, later.active_at),
        )


@dataclass(frozen=True, slots=True)
class AgentSession:
    """A session. `info` is what the agent has said of itself; times are Unix seconds."""

    id: str
    agent_id: str
    info: Mapping[str, Any]
    created_at: float
    active_at: float
    figures: Figures
    context_version: int

    def to_dict(self, timeout_seconds: float) -> dict[str, Any]:
        """As results have it; `timeout_seconds` is how long it lasts without a call."""
        return {
            "session_id": self.id,
            "agent_id": self.agent_id,
            "capabilities": [],
            "metadata": {},
            **self.info,
            "created_at": iso(self.created_at),
            "last_activity": iso(self.active_at),
            "expires_at": iso(self.active_at + timeout_seconds),
            **self.figures.to_dict(),
            "context_version": self.context_version,
        }


@dataclass(frozen=True, slots=True)
class Context:
    """What an agent keeps in its session: values as JSON texts by key, and a version."""

    version: int
    values: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As results have it."""
        values = {key: msgspec.json.decode(value) for key, value in self.values.items()}
        return {"context": values, "version": self.version}
