"""Writes several new files, or none: nothing that is there is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kailash_mcp_prod.errors import ConfigError

_PRIVATE = 0o600
_PUBLIC = 0o666


def write_new(
    directory: Path,
    files: Mapping[str, str],
    *,
    private: frozenset[str] = frozenset(),
    absent: frozenset[str] = frozenset(),
) -> None:
    """Writes all files, which are not there yet.

    Args:
        directory: Below which; it is made if it is missing.
        files: The text of each by its name, with `/` between folders.
        private: Those that only their owner may read.
        absent: Further ones that must not be there.

    Raises:
        ConfigError: One is there already or can't be written. Nothing has changed then.
    """
    taken = [name for name in (*files, *sorted(absent)) if os.path.lexists(directory / name)]
    if taken:
        raise ConfigError(
            f"{_list(directory, taken)} there already. Nothing was written: choose another "
            "directory, or move what is there."
        )
    made: list[Path] = []
    try:
        for name, text in files.items():
            _write(directory / name, text, _PRIVATE if name in private else _PUBLIC, made)
    except BaseException as failure:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(failure, OSError):
            raise ConfigError(
                f"{failure.filename} can't be written: {failure.strerror}. Nothing was written."
            ) from None
        raise


def _write(path: Path, text: str, mode: int, made: list[Path]) -> None:
    for folder in reversed([path.parent, *path.parent.parents]):
        if not folder.is_dir():
            folder.mkdir()
            made.append(folder)
    # Made with its mode, so that nobody can open it before; and never through a link.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    made.append(path)
    with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123
        file.write(text)


def _list(directory: Path, names: list[str]) -> str:
    paths = [str(directory / name) for name in names]
    return f"{paths[0]} is" if len(paths) == 1 else f"{', '.join(paths)} are"
