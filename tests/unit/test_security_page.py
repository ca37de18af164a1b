"""The tests by which docs/security.md shows its claims exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_mitigation_is_shown_by_a_test_that_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    assert name in {each.name for each in tree.body if isinstance(each, functions)}


def test_every_threat_has_a_test() -> None:
    section = PAGE.partition("\n## Threats\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if not row.startswith("| threat |")]
    assert len(threats) > 40
    assert [row for row in threats if "`tests/" not in row] == []
