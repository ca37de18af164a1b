from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from kailash_mcp_prod.cli_audit import _made
from kailash_mcp_prod.errors import InvalidArgumentsError


def write(path: Path, text: str, *, failure: BaseException | None = None) -> None:
    with _made(path) as file:
        file.write(text)
        file.flush()
        if failure is not None:
            raise failure


@pytest.fixture
def room_for_100_bytes() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("room_for_100_bytes")
def test_a_file_that_has_no_room_is_not_left_in_part(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentsError, match=r"File too large\. Nothing of it"):
        write(tmp_path / "audit.jsonl", "x" * 1000)

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_left_only_when_all_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write(path, "half\n", failure=KeyboardInterrupt())
    assert not path.exists()

    write(path, "all\n")
    with pytest.raises(InvalidArgumentsError, match="is there already"):
        write(path, "more\n")
    assert path.read_text() == "all\n"
    assert path.stat().st_mode & 0o777 == 0o600
