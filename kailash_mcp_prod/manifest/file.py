"""The file of a manifest: where it is, and how it is written and read safely."""

from __future__ import annotations

import logging
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

logger = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 64
_SUFFIX = ".manifest.json"
# A link may lead anywhere, and opening a pipe would wait for its other end.
_PLAIN_FILE: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

Content = TypeVar("Content")


def cache_folder() -> Path:
    """Where the user's programs keep what they can make again.

    Raises:
        RuntimeError: The user has no home.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        home = Path(base) if base else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        home = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return home / "kailash-mcp-prod"


class ManifestFile:
    """One manifest in the user's cache. It is never needed, so no trouble with it is an error.

    Args:
        identity: What the manifest is of, as hexadecimal digits.
        folder: Instead of the user's cache.
    """

    def __init__(self, identity: str, folder: Path | None = None) -> None:
        self._name = f"{identity}{_SUFFIX}"
        self._folder = folder

    def read(self, kind: type[Content]) -> Content | None:
        """What the file holds; `None` if there is none that can be believed.

        Only a plain file of this user's that nobody else may write is believed.
        """
        try:
            descriptor = os.open(self._path(), os.O_RDONLY | _PLAIN_FILE)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError) as failure:
            self._ignored(failure)
            return None
        try:
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
                problem = _distrust(os.fstat(descriptor))
                if problem is not None:
                    self._ignored(problem)
                    return None
                return msgspec.json.decode(file.read(MAX_BYTES + 1), type=kind)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as failure:
            self._ignored(failure)
            return None

    def write(self, content: Any) -> None:
        """Replaces the file in one step, readable by this user alone."""
        data = msgspec.json.encode(content)
        if len(data) > MAX_BYTES:
            logger.info("No manifest is written: it would be larger than %d bytes.", MAX_BYTES)
            return
        try:
            path = self._path()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes files of mode 0600.
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123
                    file.write(data)
                Path(temporary).replace(path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            _forget_oldest(path.parent)
        except (OSError, RuntimeError) as failure:
            logger.info("No manifest is written: %s", failure)

    def remove(self) -> None:
        """Removes the file, if it is there."""
        try:
            self._path().unlink(missing_ok=True)
        except (OSError, RuntimeError) as failure:
            logger.info("The manifest can't be removed: %s", failure)

    def _path(self) -> Path:
        return (self._folder or cache_folder()) / self._name

    def _ignored(self, reason: object) -> None:
        logger.warning("The manifest %s is ignored: %s", self._name, reason)


def _distrust(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return "It is no plain file."
    if hasattr(os, "getuid") and found.st_uid != os.getuid():
        return "It belongs to somebody else."
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "Others may write to it."
    if found.st_size > MAX_BYTES:
        return f"It is larger than {MAX_BYTES} bytes."
    return None


def _forget_oldest(folder: Path) -> None:
    """Keeps the newest files: each change of directory or settings has left one behind."""
    dated = []
    for each in folder.glob(f"*{_SUFFIX}"):
        try:
            dated.append((each.stat().st_mtime, each))
        except FileNotFoundError:
            continue
    for _, each in sorted(dated)[:-MAX_FILES]:
        each.unlink(missing_ok=True)
