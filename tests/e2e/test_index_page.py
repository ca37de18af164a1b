"""What the first page of the site says is done here as written."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.e2e.servers import ROOT, serving
from tests.e2e.snippets import run_in, snippets

PAGE = ROOT / "docs" / "index.md"


def test_from_nothing_to_a_call(tmp_path: Path) -> None:
    install, serve, *calls = snippets(PAGE, "sh")
    [model] = snippets(PAGE, "python")
    (tmp_path / "library.py").write_text(model, encoding="utf-8")
    # The tests run in an environment that was made so.
    assert install.splitlines()[-1] == "pip install kailash-mcp-prod"
    with serving(tmp_path, *shlex.split(serve)[2:]) as server:
        created, listed, refused = (
            json.loads(run_in(tmp_path, line.replace("http://127.0.0.1:3002", server.rest)))
            for block in calls
            for line in block.splitlines()
        )

    assert (created["title"], created["pages"]) == ("Moby-Dick", 635)
    assert listed["records"] == [created]
    assert refused["error"]["field"] == "data.pages"
    assert (tmp_path / "library.db").is_file()
