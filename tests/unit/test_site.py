"""The documentation builds as a site, without a warning and without anything from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from scripts.site_hooks import MORE, on_config, on_page_markdown

ROOT = Path(__file__).parents[2]


def test_the_site_builds_strictly_and_needs_no_other_host(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    pages = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("*.html")}
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= pages.keys()
    for text in pages.values():
        assert re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//[^>]*>", text) == []
        assert re.findall(r"<link[^>]* href=\"?(?:https?:)?//[^>]*>", text) == []


def test_a_page_that_no_section_names_comes_last(tmp_path: Path) -> None:
    for name in ("index.md", "named.md", "unnamed.md"):
        (tmp_path / name).touch()
    nav = [{"Start": ["index.md", {"Of that name": "named.md"}]}]
    config = {"nav": nav, "docs_dir": str(tmp_path)}

    assert on_config(config)["nav"] == [*nav[:1], {MORE: ["unnamed.md"]}]
    assert on_config(config)["nav"] == nav


def test_links_that_leave_the_site_become_text() -> None:
    text = "See [the program](../examples/a.py), [a page](tools.md#filters) and [it](https://a.b)."

    assert on_page_markdown(text) == text.replace("[the program](../examples/a.py)", "the program")
