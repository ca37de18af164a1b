from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.scratch import scratch_folder


def test_the_folder_is_for_its_user_alone_and_for_the_block_alone() -> None:
    with scratch_folder("scratch-") as folder:
        assert folder.name.startswith("scratch-")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").touch()

    assert not folder.exists()


def test_without_a_place_for_files_it_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    with pytest.raises(StartupError, match="Set TMPDIR"), scratch_folder("scratch-"):
        pytest.fail("there is none")
