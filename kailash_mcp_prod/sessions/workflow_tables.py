"""The tables of workflow sessions and their steps. Times are Unix seconds; texts are JSON."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Integer, String, Table, Text

from kailash_mcp_prod.state.database import METADATA

SESSIONS: Final = "mcp_workflow_sessions"
STEPS: Final = "mcp_workflow_steps"

# `version` moves with whatever is stored of the session's course, so that who has seen one state
# of it stores nothing on top of another.
sessions = Table(
    SESSIONS,
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False, index=True),
    Column("agent_id", Text),
    Column("workflow_type", Text, nullable=False),
    Column("status", String(24), nullable=False),
    Column("config", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("result_bytes", BigInteger, nullable=False),
    Column("error", Text),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

# `number` orders the steps of a session; those inside others have none of their own. `call` tells
# what a step has read. Who holds a running step has `token`, until `lease_until`.
steps = Table(
    STEPS,
    METADATA,
    Column("session_id", String(64), primary_key=True),
    Column("path", String(400), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("type", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("undo", Text),
    Column("call", String(64)),
    Column("token", String(64)),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
)

WORKFLOW_TABLES: Final = (sessions, steps)
