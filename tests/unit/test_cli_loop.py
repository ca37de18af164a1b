from __future__ import annotations

import subprocess
import sys

START = """
import sys
from kailash_mcp_prod.cli_loop import configure_logging_of
from kailash_mcp_prod.config import ServerConfig
configure_logging_of(ServerConfig.load({"mode": "development"}))
assert "structlog" in sys.modules
assert "rich" not in sys.modules
import rich.console
"""


def test_logging_begins_without_rich_and_leaves_it_to_who_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == 0, done.stderr
