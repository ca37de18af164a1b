"""The tables of workspaces. Times are Unix seconds of the database's clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text

from kailash_mcp_prod.state.database import METADATA


def _of_workspace() -> Column[str]:
    return Column("workspace_id", String(64), primary_key=True)


workspaces = Table(
    "mcp_workspaces",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("creator", String(64), nullable=False, index=True),
    # Grows with each change, and so is the version of what is changed, and never used twice.
    Column("revision", BigInteger, nullable=False),
    Column("board_bytes", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
)

members = Table(
    "mcp_workspace_members",
    METADATA,
    _of_workspace(),
    Column("address", String(64), primary_key=True),
    # Whose the part is since it was taken; before, it is whoever the address leads to.
    Column("owner", String(64)),
    Column("name", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("invited_by", String(255), nullable=False),
    Index("ix_mcp_workspace_members_address", "address"),
    Index("ix_mcp_workspace_members_owner", "owner"),
)

entries = Table(
    "mcp_workspace_entries",
    METADATA,
    _of_workspace(),
    Column("key", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("author", String(255), nullable=False),
    Column("at", Double, nullable=False),
)

messages = Table(
    "mcp_workspace_messages",
    METADATA,
    _of_workspace(),
    Column("recipient", String(64), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sender", String(255), nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Double, nullable=False),
)

leases = Table(
    "mcp_workspace_leases",
    METADATA,
    _of_workspace(),
    Column("model", String(255), primary_key=True),
    Column("record", Text, primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("holder", String(255), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)

events = Table(
    "mcp_collaboration_events",
    METADATA,
    _of_workspace(),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    # The addresses of those whom a message concerns; empty for what every member may know.
    Column("audience", Text, nullable=False),
)

PARTS: Final = (events, leases, messages, entries, members)
"""What belongs to a workspace, in the order in which it is removed."""

TABLES: Final = (workspaces, *PARTS)
