"""The code in our pages, found and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.forked import commands
from tests.e2e.servers import environment

BIN = Path(sys.executable).parent


def snippets(page: Path, language: str) -> list[str]:
    """The blocks of code of a page that are in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def only(blocks: Sequence[str], start: str) -> str:
    """The one block that begins with a text."""
    [block] = [block for block in blocks if block.startswith(start)]
    return block


def run_in(workdir: Path, command: str, *, anew: bool = False, **settings: str) -> str:
    """What a shell command prints, which has to succeed; our own programs are found first.

    Args:
        workdir: Where it runs.
        command: The command.
        anew: Whether `kailash-mcp-prod` is the installed program, instead of a fork that has it
            imported already.
        settings: Environment variables.
    """
    programs = [*([] if anew else [str(commands())]), str(BIN), os.environ["PATH"]]
    completed = subprocess.run(
        ["sh", "-c", command],
        cwd=workdir,
        env={**environment(**settings), "PATH": os.pathsep.join(programs)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return completed.stdout
