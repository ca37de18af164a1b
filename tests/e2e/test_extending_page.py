"""The program of docs/extending.md does what the page says."""

from __future__ import annotations

from pathlib import Path

import kailash_mcp_prod
from tests.e2e.servers import ROOT
from tests.e2e.snippets import run_in, snippets

PAGE = ROOT / "docs" / "extending.md"
NOT_EXTENDED = {"ServerConfig", "StartupError", "__version__"}


def test_all_extensions_work_together_in_one_program(tmp_path: Path) -> None:
    for text in snippets(PAGE, "python"):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text, encoding="utf-8")
    [told] = snippets(PAGE, "text")

    database = f"sqlite:///{tmp_path / 'library.db'}"
    assert run_in(tmp_path, "python library.py", DATABASE_URL=database) == told


def test_every_public_name_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")

    assert {each for each in kailash_mcp_prod.__all__ if each not in page} <= NOT_EXTENDED
