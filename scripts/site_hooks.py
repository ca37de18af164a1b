"""What mkdocs does besides, for the site that `make docs` builds; mkdocs.yml names this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MORE = "More"
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_config(config: Any) -> Any:
    """Adds the pages that no section names, so that none is built and can't be found."""
    named = set(_paths(config["nav"]))
    pages = sorted(path.name for path in Path(config["docs_dir"]).glob("*.md"))
    if further := [page for page in pages if page not in named]:
        config["nav"].append({MORE: further})
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leaves the text of links to files of the repository, which are not part of the site."""
    return _OUTSIDE.sub(r"\1", markdown)


def _paths(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [path for entry in entries for path in _paths(entry)]
