"""The reference application with all observation or none.

`python -m … KIND PORT URL [COLLECTOR]`, with one of `KINDS`, `traced` or `untraced`. The log goes
to standard error, which whoever starts this sends to a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Final

from kailash_mcp_prod.cli_loop import run, settle_garbage_collector
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.observe.logs import configure_logging
from kailash_mcp_prod.server import ProductionMCPServer

KEY: Final = "key-of-the-benchmark"
ALL, METRICS, LOGS, AUDIT, NONE = "all", "metrics", "logs", "audit", "none"
KINDS: Final = (ALL, METRICS, LOGS, AUDIT, NONE)
"""Everything that the bars are about, each part of it alone, and nothing of it."""

TRACED, UNTRACED = "traced", "untraced"
"""Nothing of it but traces, of which all are kept or none."""


def settings(kind: str) -> dict[str, Any]:
    """What a kind switches on and off."""
    metrics = kind in {ALL, METRICS}
    return {
        "enable_metrics": metrics,
        "enable_performance_tracking": metrics,
        "enable_agent_analytics": metrics,
        "enable_audit": kind in {ALL, AUDIT},
        "log_level": "INFO" if kind in {ALL, LOGS} else "ERROR",
        "enable_dashboard": False,
        "enable_tracing": kind in {TRACED, UNTRACED},
        "trace_sample_ratio": 0.0 if kind == UNTRACED else 1.0,
    }


async def serve(kind: str, port: int, url: str, collector: str | None = None) -> None:
    """Serves until the process is ended."""
    config = ServerConfig.load(
        {
            "port": port,
            "database_url": url,
            "otlp_endpoint": collector,
            "api_keys": json.dumps({KEY: {"permissions": ["*"], "rate_limit": 1_000_000_000}}),
            "jwt_secret": "a-secret-that-only-this-benchmark-has",
            **settings(kind),
        }
    )
    configure_logging(config.log_level)
    os.environ["DATABASE_URL"] = url
    async with ProductionMCPServer(config):
        settle_garbage_collector()
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
