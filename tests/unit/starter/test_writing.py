from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.starter.writing import write_new

FILES = {"a.txt": "one\n", "deep/er/b.txt": "two\n", ".env": "secret\n"}


def found(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_files_are_written_with_their_folders(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    write_new(home, FILES, private=frozenset({".env"}))

    assert {name: (home / name).read_text() for name in FILES} == FILES
    assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize("taken", ["a.txt", "deep/er/b.txt", "other.py"])
def test_nothing_is_written_where_something_is(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).write_text("mine")
    before = found(tmp_path)

    with pytest.raises(ConfigError, match=f"{taken} is there already") as refused:
        write_new(tmp_path, FILES, absent=frozenset({"other.py"}))

    assert refused.value.exit_code == 2
    assert found(tmp_path) == before
    assert (tmp_path / taken).read_text() == "mine"


def test_a_link_to_nowhere_is_something_too(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="is there already"):
        write_new(tmp_path, FILES)

    assert found(tmp_path) == [".env"]


def test_what_was_written_goes_when_the_rest_can_t_be(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where a folder should be")

    with pytest.raises(ConfigError, match=r"deep.* can't be written: .*Nothing was written"):
        write_new(tmp_path, FILES)

    assert found(tmp_path) == ["deep"]
