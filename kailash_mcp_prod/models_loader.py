"""Finds the DataFlow instance of an application, as `module:attribute`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kailash_mcp_prod.errors import ConfigError, ModelError

_SQLITE = "sqlite:///"


def load_dataflow(target: str, database_url: str | None) -> Any:
    """Imports the application's DataFlow instance from the working directory or the path.

    Args:
        target: Such as `models:db`.
        database_url: Handed to the application as `DATABASE_URL`, if given.

    Raises:
        ConfigError: There is no such module or attribute, or it uses another database.
        ModelError: The module fails while it is imported.
    """
    if database_url is not None:
        database_url = absolute_sqlite_url(database_url)
        os.environ["DATABASE_URL"] = database_url
    db = getattr(_import(target, "DataFlow instance with --models"), target.partition(":")[2], None)
    if db is None or not hasattr(db, "list_models"):
        raise ConfigError(
            f"{target} is no DataFlow instance. Name one with --models module:attribute."
        )
    if database_url is not None and not _same_database(db.config.database.url, database_url):
        raise ConfigError(
            f"{target} does not use the database that the configuration names. Let it read the "
            "environment variable DATABASE_URL."
        )
    return db


def load_sample_rows(target: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The rows of `SAMPLE_ROWS` in the module `sample_data` beside the models; none without it.

    Raises:
        ModelError: The module fails while it is imported, or has no `SAMPLE_ROWS`.
    """
    package = target.partition(":")[0]
    name = f"{package}.sample_data"
    try:
        rows: Mapping[str, Sequence[Mapping[str, Any]]] = importlib.import_module(name).SAMPLE_ROWS
    except ModuleNotFoundError as missing:
        if missing.name in {name, package}:
            return {}
        raise ModelError(f"{name} can't be imported: it needs {missing.name}.") from missing
    except Exception as failure:
        raise ModelError(f"{name} can't be used: {type(failure).__name__}: {failure}") from failure
    return rows


def absolute_sqlite_url(url: str) -> str:
    """The URL with an absolute path: DataFlow reads and writes two files with a relative one."""
    name = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or name in {"", ":memory:"} or name.startswith(("/", "file:")):
        return url
    return f"{_SQLITE}{Path(name).absolute()}"


def _same_database(one: str, other: str) -> bool:
    """Whether two URLs name the same database; a file may be reached by several paths."""
    if one.startswith(_SQLITE) and other.startswith(_SQLITE):
        return (
            Path(one.removeprefix(_SQLITE)).resolve() == Path(other.removeprefix(_SQLITE)).resolve()
        )
    return one == other


def load_nexus(target: str) -> Any:
    """Imports the application's Nexus app from the working directory or the path.

    Args:
        target: Such as `app:app`.

    Raises:
        ConfigError: There is no such module or attribute.
        ModelError: The module fails while it is imported.
    """
    app = getattr(_import(target, "Nexus app with --nexus"), target.partition(":")[2], None)
    if app is None:
        raise ConfigError(f"{target} is no Nexus app. Name one with --nexus module:attribute.")
    return app


def _import(target: str, named: str) -> Any:
    module = target.partition(":")[0]
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is not None and f"{module}.".startswith(f"{missing.name}."):
            raise ConfigError(
                f"There is no module '{module}' in {here} or on the path. Go to the directory of "
                f"your application, or name its {named} module:attribute."
            ) from None
        raise ModelError(f"{module} can't be imported: it needs {missing.name}.") from missing
    except Exception as failure:
        raise ModelError(
            f"{module} can't be imported: {type(failure).__name__}: {failure}"
        ) from failure
