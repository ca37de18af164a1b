"""Workflow sessions and their steps as rows of their tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kailash_mcp_prod.sessions.workflow_config import parse_session_config
from kailash_mcp_prod.sessions.workflow_state import Session, Step

SESSION_COLUMNS: Final = (
    "id, owner, agent_id, workflow_type, status, config, version, result_bytes, created_at, "
    "updated_at, expires_at, error"
)
STEP_COLUMNS: Final = (
    "path, number, type, digest, status, started_at, result, error, undo, call, token, "
    "lease_until, finished_at"
)


def session_values(session: Session) -> tuple[Any, ...]:
    """What is kept of a session, in the order of `SESSION_COLUMNS`."""
    return (
        session.id,
        session.owner,
        session.agent_id,
        session.workflow_type,
        session.status,
        json_text(session.config.raw),
        session.version,
        session.result_bytes,
        session.created_at,
        session.updated_at,
        session.expires_at,
        json_text(session.error),
    )


def session_of(row: Sequence[Any]) -> Session:
    """The session of a row, without its steps."""
    return Session(
        id=row[0],
        owner=row[1],
        agent_id=row[2],
        workflow_type=row[3],
        status=row[4],
        config=parse_session_config(_value(row[5])),
        version=row[6],
        # Counted with its steps, some of which are stored without the session.
        result_bytes=0,
        created_at=row[8],
        updated_at=row[9],
        expires_at=row[10],
        error=_value(row[11]),
    )


def step_values(session_id: str, step: Step) -> tuple[Any, ...]:
    """What is kept of a step: its session, and then in the order of `STEP_COLUMNS`."""
    return (
        session_id,
        step.path,
        step.number,
        step.type,
        step.digest,
        step.status,
        step.started_at,
        None if step.result is None else step.result.decode(),
        json_text(step.error),
        json_text(step.undo),
        step.call,
        step.token,
        step.lease_until,
        step.finished_at,
    )


def step_of(row: Sequence[Any]) -> Step:
    """The step of a row."""
    return Step(
        path=row[0],
        number=row[1],
        type=row[2],
        digest=row[3],
        status=row[4],
        started_at=row[5],
        result=None if row[6] is None else row[6].encode(),
        error=_value(row[7]),
        undo=_value(row[8]),
        call=row[9],
        token=row[10],
        lease_until=row[11],
        finished_at=row[12],
    )


def json_text(value: Any) -> str | None:
    """The value as JSON; nothing for `None`."""
    return None if value is None else msgspec.json.encode(value).decode()


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
