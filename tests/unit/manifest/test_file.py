from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import msgspec
import pytest

from kailash_mcp_prod.manifest import file as manifest_file
from kailash_mcp_prod.manifest.file import MAX_FILES, ManifestFile, cache_folder


class Note(msgspec.Struct, forbid_unknown_fields=True):
    text: str


@pytest.fixture
def file(tmp_path: Path) -> ManifestFile:
    return ManifestFile("abc", tmp_path / "cache")


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "abc.manifest.json"


def test_what_was_written_is_read(file: ManifestFile, tmp_path: Path) -> None:
    assert file.read(Note) is None

    file.write(Note("first"))
    file.write(Note("second"))

    assert file.read(Note) == Note("second")
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["abc.manifest.json"]
    assert path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    file.remove()
    file.remove()
    assert file.read(Note) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"text": 5}', b'{"text": "a", "more": 1}', b"\xff" * 9]
)
def test_what_is_no_manifest_is_ignored_with_a_log_line(
    file: ManifestFile, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(Note("good"))
    path_of(tmp_path).write_bytes(content)

    with caplog.at_level(logging.WARNING):
        assert file.read(Note) is None

    assert "is ignored" in caplog.text


def test_deep_nesting_is_ignored(file: ManifestFile, tmp_path: Path) -> None:
    file.write(Note("good"))
    path_of(tmp_path).write_bytes(b"[" * 200_000)

    assert file.read(dict) is None


def test_a_file_that_others_may_write_is_ignored(file: ManifestFile, tmp_path: Path) -> None:
    file.write(Note("good"))
    for mode in (0o620, 0o602, 0o666):
        path_of(tmp_path).chmod(mode)
        assert file.read(Note) is None
    path_of(tmp_path).chmod(0o644)
    assert file.read(Note) == Note("good")


def test_a_link_a_pipe_and_a_folder_are_ignored(file: ManifestFile, tmp_path: Path) -> None:
    file.write(Note("good"))
    path = path_of(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert file.read(Note) is None
    path.unlink()
    os.mkfifo(path, 0o600)
    assert file.read(Note) is None
    path.unlink()
    path.mkdir(mode=0o700)
    assert file.read(Note) is None


def test_a_file_that_is_too_large_is_neither_read_nor_written(
    file: ManifestFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write(Note("x" * 100))
    monkeypatch.setattr(manifest_file, "MAX_BYTES", 50)

    assert file.read(Note) is None
    file.write(Note("y" * 100))
    assert b"x" in path_of(tmp_path).read_bytes()


def test_a_cache_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    file = ManifestFile("abc", tmp_path / "cache")

    file.write(Note("lost"))

    assert file.read(Note) is None
    file.remove()


def test_writers_at_the_same_time_leave_one_whole_file(file: ManifestFile, tmp_path: Path) -> None:
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=file.write, args=[Note(text)]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = file.read(Note)
    assert found is not None
    assert found.text in texts
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 3):
        ManifestFile(f"{number:03}", tmp_path).write(Note(str(number)))
        os.utime(tmp_path / f"{number:03}.manifest.json", (number, number))
    ManifestFile("last", tmp_path).write(Note("last"))

    kept = sorted(each.name for each in tmp_path.iterdir())
    assert len(kept) == MAX_FILES
    assert kept[0] == "004.manifest.json"
    assert kept[-1] == "last.manifest.json"


def test_the_cache_is_where_the_user_keeps_such_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "kailash-mcp-prod"

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "kailash-mcp-prod"
