"""The generated pages are current, and nothing that a user can name is missing from the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ServerError, StartupError
from kailash_mcp_prod.nexus.tools import EXECUTE, LIST
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.surfaces.names import CHOICES
from tests.e2e.record_tools import ALL_TOOLS, MODELS, NAMES
from tests.e2e.servers import ROOT, environment

PACKAGE = ROOT / "kailash_mcp_prod"


def words_of(page: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / page).read_text("utf-8")))


def named_in(files: str, pattern: str) -> set[str]:
    """What the code names by texts of a pattern."""
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob(files)]
    found = {name for source in sources for name in re.findall(rf'"({pattern})"', source)}
    assert found
    return found


def test_the_generated_pages_are_current() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "scripts.generate_reference", "--check"],
        cwd=ROOT,
        env=environment(DATABASE_URL="sqlite:///unused.db"),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_setting_is_documented() -> None:
    assert set(ServerConfig.model_fields) <= words_of("configuration.md")


def test_every_tool_is_documented() -> None:
    words = words_of("tools-reference.md")
    by_pattern = {f"Company_{operation}" for operation in Operation}

    assert {*ALL_TOOLS} - {*NAMES} | by_pattern | {*MODELS} | {LIST, EXECUTE} <= words
    assert {*CHOICES} <= words_of("tools.md")


def test_every_error_code_is_documented() -> None:
    words = words_of("errors.md")

    assert {each.code for each in _all_of(ServerError)} <= words
    assert {each.__name__ for each in _all_of(StartupError)} <= words


def test_every_metric_is_documented() -> None:
    words = words_of("metrics.md")
    names = named_in("metrics_*.py", "mcp_[a-z_]+")

    assert {name for name in names if not {name, f"{name}_total"} & words} == set()


def test_every_permission_is_documented() -> None:
    words = words_of("permissions.md")

    assert named_in("*.py", r"(?:session|workflow|monitor):(?:[a-z]+|\*)") <= words
    assert {f"Company:{operation}" for operation in Operation} <= words


def _all_of(kind: Any) -> list[Any]:
    """A kind of error of our own, with all kinds of it."""
    below = [each for sub in kind.__subclasses__() for each in _all_of(sub)]
    return [kind, *below] if kind.__module__ == ServerError.__module__ else []
