from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from uv import find_uv_bin

from tests.e2e.servers import ROOT, ServerProcess, environment

# The environment is made anew, as on a fresh machine.
INSTALL_SECONDS = 270.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what git has or would take of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    target = tmp_path / "checkout"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@contextmanager
def made(checkout: Path) -> Iterator[ServerProcess]:
    """`make serve` as in a terminal: it and all its children are one group of processes.

    On a machine with uv, which takes a third of the time; where there is none, pip has made the
    environment of this test in the same way.
    """
    programs = checkout.parent / "programs"
    programs.mkdir()
    (programs / "uv").symlink_to(find_uv_bin())
    settings = environment(PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    # What a `make test` around us says is not for the make below.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS", "PYTHONPATH", "VIRTUAL_ENV", "PYTHON"):
        settings.pop(name, None)
    with subprocess.Popen(
        ["make", "serve", "ARGS=--port 0"],
        cwd=checkout,
        env=settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield ServerProcess(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_make_serve_starts_a_working_server_on_a_fresh_checkout(checkout: Path) -> None:
    with made(checkout) as process:
        process.errors.find("^MCP +http", INSTALL_SECONDS)
        rest = process.errors.find(r"^REST +(http://\S+)/docs$")[1]
        created = httpx.post(f"{rest}/tools/Company_create", json={"data": {"name": "Made"}})
        listed = httpx.post(f"{rest}/tools/Company_list", json={"filter": {"name": "Made"}})
        assert created.status_code == 200
        assert listed.json()["records"] == [created.json()]

        begun = time.monotonic()
        os.killpg(process.process.pid, signal.SIGINT)
        process.process.wait(5)
        assert "Traceback" not in process.errors.finish()
        assert time.monotonic() - begun < 5
        socket.create_server(("127.0.0.1", int(rest.rpartition(":")[2]))).close()
    assert (checkout / ".venv" / "bin" / "kailash-mcp-prod").exists()
