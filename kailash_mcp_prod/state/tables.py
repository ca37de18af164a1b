"""The tables of API keys, of revoked tokens and of those that were minted.

Times are Unix seconds. Whatever changes a row takes the next number of `mcp_revisions`, and the
replicas ask for the rows whose number they have not seen.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String, Table, Text

from kailash_mcp_prod.state.database import METADATA

CREDENTIALS = "credentials"
"""The row of `mcp_revisions` that counts changes of keys and tokens."""

KEPT_AFTER_EXPIRY_SECONDS = 86_400.0
"""How long tokens are remembered that have expired: a server may allow for clocks that are off."""

revisions = Table(
    "mcp_revisions",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("revision", BigInteger, nullable=False),
)

api_keys = Table(
    "mcp_api_keys",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("lineage", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("agent_id", String(255)),
    Column("tenant_id", String(255)),
    Column("permissions", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("read_only", Boolean, nullable=False),
    Column("rate_limit", Integer),
    Column("surface", String(255)),
    Column("claims", Text, nullable=False),
    Column("label", String(255)),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Column("replaced_by", String(16)),
    Column("revision", BigInteger, nullable=False, index=True),
)

revoked_tokens = Table(
    "mcp_revoked_tokens",
    METADATA,
    Column("jti", String(255), primary_key=True),
    Column("revoked_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revision", BigInteger, nullable=False, index=True),
)

# Subjects and tenants of tokens have no limit but the length of a token.
minted_tokens = Table(
    "mcp_minted_tokens",
    METADATA,
    Column("jti", String(255), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("permissions", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("tenant_id", Text),
    Column("read_only", Boolean, nullable=False),
    Column("label", String(255)),
)

CREDENTIAL_TABLES = (revisions, api_keys, revoked_tokens)
"""What servers follow."""

TOKEN_NOTE_TABLES = (*CREDENTIAL_TABLES, minted_tokens)
"""What the command line needs beside: servers do without, so older databases serve as before."""
