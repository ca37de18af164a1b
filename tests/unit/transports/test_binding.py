from __future__ import annotations

import socket
import tempfile
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.transports.binding import bind, bind_both, bind_local


def test_a_path_passes_to_whoever_listens_there_last() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "worker.sock"
        with bind_local(path), bind_local(path) as later, socket.socket(socket.AF_UNIX) as client:
            later.settimeout(5)
            client.connect(str(path))
            later.accept()[0].close()
        assert [each.name for each in Path(folder).iterdir()] == ["worker.sock"]


def test_a_path_that_is_too_long_is_told_with_what_to_set(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30) / "worker.sock"

    with pytest.raises(StartupError, match=r"path too long\. Set TMPDIR to a directory with a sh"):
        bind_local(path)


def test_a_folder_that_is_gone_is_told() -> None:
    with pytest.raises(StartupError, match="No such file or directory"):
        bind_local(Path("/nowhere/worker.sock"))


def taken_behind_a_free_one() -> socket.socket:
    while True:
        taken = bind("127.0.0.1", 0)
        try:
            bind("127.0.0.1", taken.getsockname()[1] - 1).close()
        except StartupError:
            taken.close()
        else:
            return taken


def test_that_the_port_of_rest_is_taken_is_told_as_such() -> None:
    with taken_behind_a_free_one() as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as refused:
            bind_both("127.0.0.1", port - 1)

    assert str(refused.value).startswith(f"Can't listen on 127.0.0.1:{port}: Address already in")
    assert str(refused.value).endswith("It is for REST, the one after --port.")
