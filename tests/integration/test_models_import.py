from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# The audit hook sees what Python opens; drivers written in C are seen by the listening socket.
IMPORT_UNDER_WATCH = """
import sys

WATCHED = {"sqlite3.connect", "socket.connect", "socket.getaddrinfo"}
opened = []
sys.addaudithook(lambda event, arguments: event in WATCHED and opened.append(event))

import models

assert len(models.db.list_models()) == 13
sys.exit(f"opened {opened}" if opened else 0)
"""


def import_models(directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Import the package in a fresh process that knows `directory` alone, as home and as cwd."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-c", IMPORT_UNDER_WATCH],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_importing_the_models_is_silent_and_makes_the_data_directory_at_most(
    tmp_path: Path,
) -> None:
    done = import_models(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [".data"]


def test_importing_the_models_leaves_a_named_database_server_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = import_models(tmp_path, DATABASE_URL=f"postgresql://app@127.0.0.1:{port}/app")
        listener.setblocking(False)

        with pytest.raises(BlockingIOError):
            listener.accept()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
