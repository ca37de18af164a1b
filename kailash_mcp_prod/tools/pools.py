"""The bounds of the connections for SQL, as the settings say."""

from __future__ import annotations

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.records.sql.database import PoolSettings


def pool_settings(config: ServerConfig) -> PoolSettings:
    """The bounds of a pool."""
    return PoolSettings(
        size=config.connection_pool_size,
        overflow=config.connection_pool_max_overflow,
        recycle_seconds=config.connection_recycle_seconds,
        statement_seconds=config.request_timeout_seconds,
    )
