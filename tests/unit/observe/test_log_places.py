from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.observe.log_places import RotatingFile, Stream


def test_a_file_is_replaced_before_it_grows_too_large_and_the_oldest_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"before\n")
    file = RotatingFile(path, max_bytes=10, kept=2)
    for word in (b"12\n", b"one\n", b"two\n", b"a line that is too long by itself\n", b"three\n"):
        file.write(word)
    file.write(b"")

    assert path.read_bytes() == b"three\n"
    assert (tmp_path / "a.log.1").read_bytes() == b"a line that is too long by itself\n"
    assert (tmp_path / "a.log.2").read_bytes() == b"one\ntwo\n"
    assert len(list(tmp_path.iterdir())) == 3


def test_without_older_ones_a_file_begins_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "a.log", max_bytes=5, kept=0)
    file.write(b"one\n")
    file.write(b"two\n")

    assert (tmp_path / "a.log").read_bytes() == b"two\n"


def test_lines_of_several_processes_are_whole_and_none_is_lost_by_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    program = """
import sys
from pathlib import Path
from kailash_mcp_prod.observe.log_places import RotatingFile
file = RotatingFile(Path(sys.argv[1]), max_bytes=20_000, kept=100)
for number in range(1000):
    file.write(f"{sys.argv[2]} {number} {'x' * 50}\\n".encode())
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "abc"]
    assert [each.wait(40) for each in writers] == [0, 0, 0]

    files = sorted(tmp_path.iterdir())
    lines = [line for file in files for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(
        f"{name} {number} {'x' * 50}" for name in "abc" for number in range(1000)
    )
    assert all(file.stat().st_size <= 20_000 for file in files)
    assert len(files) < 15


def test_a_file_that_somebody_else_has_renamed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(path, max_bytes=1000, kept=1)
    file.write(b"one\n")
    path.rename(tmp_path / "taken.log")
    file.write(b"two\n")

    assert path.read_bytes() == b"two\n"
    assert (tmp_path / "taken.log").read_bytes() == b"one\n"


def test_a_file_that_can_not_be_opened_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log_file can't be opened: No such file"):
        RotatingFile(tmp_path / "none" / "a.log", max_bytes=5, kept=0)


def test_what_can_not_be_written_is_lost_and_the_next_lines_are_tried(tmp_path: Path) -> None:
    file = RotatingFile(Path("/dev/full"), max_bytes=1000, kept=1)
    file.write(b"one\n")
    Stream(os.open(tmp_path, os.O_RDONLY), "json").write(b"one\n")


def test_a_stream_that_is_full_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = b"x" * 300_000
    writer = threading.Thread(target=Stream(writing, "json").write, args=(data,))
    writer.start()
    read = b""
    while len(read) < len(data):
        read += os.read(reading, 65_536)
    writer.join(5)
    os.close(reading)
    os.close(writing)

    assert read == data
