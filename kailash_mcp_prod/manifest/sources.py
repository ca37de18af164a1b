"""What a manifest was made from: files, installed packages and variables, as one digest.

The files are those of the models' own package and of every module that lies outside the places of
installed packages and of the standard library. Installed packages count by name and version. Of the
environment count the variables whose names stand as texts in those files. What a module reads
besides, such as a data file or a database, is not seen.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kailash_mcp_prod.manifest.entries import Entry, NotStorableError

MAX_FILES = 2_000
_INSTALLED = ("site-packages", "dist-packages")
_METADATA = (".dist-info", ".egg-info")
_VARIABLE = re.compile(rb"""["']([A-Z][A-Z0-9_]{2,63})["']""")
# The address of the database is part of a manifest's identity, without its password.
_LEFT_OUT = frozenset({"DATABASE_URL"})


class Sources(Entry, frozen=True):
    """The files and variables that count, and what they were."""

    files: tuple[str, ...]
    variables: tuple[str, ...]
    digest: str


def sources_of(target: str, environment: Mapping[str, str]) -> Sources:
    """The sources of an application that is imported.

    Args:
        target: Such as `models:db`.
        environment: The variables as they were before the import, which may set some.

    Raises:
        NotStorableError: There are too many files, or one can't be read.
    """
    files = _files(target.partition(":")[0].partition(".")[0])
    if len(files) > MAX_FILES:
        raise NotStorableError(f"the application has more than {MAX_FILES} files")
    own = f"{os.sep}kailash_mcp_prod{os.sep}"
    names: set[str] = set()
    try:
        for file in files:
            if own not in file:
                names.update(name.decode() for name in _VARIABLE.findall(Path(file).read_bytes()))
        variables = tuple(sorted(names - _LEFT_OUT))
        return Sources(files, variables, digest_of(files, variables, environment))
    except OSError as failure:
        raise NotStorableError(f"a source can't be read: {failure.strerror}") from failure


def digest_of(
    files: Sequence[str], variables: Iterable[str], environment: Mapping[str, str]
) -> str:
    """The digest of sources as they are now.

    Raises:
        OSError: A file is gone or can't be read.
    """
    contents = [[file, _digest(Path(file).read_bytes())] for file in files]
    folders = sorted({str(Path(file).parent) for file in files})
    dotenv = Path(".env")
    state = [
        contents,
        # A module that is new may be imported by one that looks for its neighbours.
        [[folder, _modules_in(folder)] for folder in folders],
        _digest(dotenv.read_bytes()) if dotenv.is_file() else None,
        [[name, environment.get(name)] for name in variables],
        _installed(),
    ]
    # Not by msgspec, which refuses names and values that are no Unicode.
    return _digest(json.dumps(state).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _files(package: str) -> tuple[str, ...]:
    standard = tuple(f"{sysconfig.get_path(each)}{os.sep}" for each in ("stdlib", "platstdlib"))
    found = set()
    for name, module in tuple(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not Path(file).is_file():
            continue
        path = str(Path(file).absolute())
        installed = not set(_INSTALLED).isdisjoint(Path(path).parts)
        if name.partition(".")[0] == package or not (installed or path.startswith(standard)):
            found.add(path)
    return tuple(sorted(found))


def _modules_in(folder: str) -> list[str]:
    """The modules and packages that a folder offers."""
    with os.scandir(folder) as entries:
        return sorted(
            each.name
            for each in entries
            if each.name.endswith(".py") or Path(each.path, "__init__.py").is_file()
        )


def _installed() -> list[str]:
    """The installed packages, each as the name of its metadata, which holds the version."""
    names: set[str] = set()
    for folder in sys.path:
        if Path(folder).name in _INSTALLED and Path(folder).is_dir():
            names.update(
                each.name for each in Path(folder).iterdir() if each.name.endswith(_METADATA)
            )
    return sorted(names)
