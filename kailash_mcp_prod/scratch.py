"""Folders that are there for a while."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kailash_mcp_prod.errors import StartupError


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder for this user alone, for the length of a block.

    Args:
        prefix: Its name begins so.

    Raises:
        StartupError: There is no place for it.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError:
        raise StartupError(
            "There is no directory for temporary files that can be written. Set TMPDIR to one."
        ) from None
    with folder as name:
        yield Path(name)
