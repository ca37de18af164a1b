"""The programs of `examples/` run as they stand."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.forked import commands
from tests.e2e.servers import ROOT, environment


def output_of(example: str, workdir: Path) -> list[str]:
    done = subprocess.run(
        [commands() / "python-file", ROOT / "examples" / example],
        cwd=workdir,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_workflow_session_is_driven_and_undone(tmp_path: Path) -> None:
    assert output_of("workflow_session.py", tmp_path) == [
        "create_customer: done",
        "create_quote: done",
        "total: 35.66",
        "create_customer: again",
        "failed with not_found; undone: ['create_customer']",
        "status: compensated",
    ]
