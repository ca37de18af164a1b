from __future__ import annotations

import subprocess
import sys

from kailash_mcp_prod._version import __version__

LOOK = """
import sys
from kailash_mcp_prod import __main__
sys.argv = ["kailash-mcp-prod", "--version"]
try:
    __main__.main()
except SystemExit as end:
    assert not end.code, end.code
assert "structlog" in sys.modules
assert "rich" not in sys.modules
import rich.console
"""


def test_the_command_starts_without_rich_and_leaves_it_to_who_wants_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout
