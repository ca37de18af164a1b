"""One model of the reference application, for tests to which all of its tools are only start-up.

A server of this one starts with half of the work. Its database is where that of the reference
application is.
"""

from __future__ import annotations

import os
from pathlib import Path

from dataflow import DataFlow


def _default() -> str:
    folder = Path.cwd() / ".data"
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder.as_posix()}/kailash.db"


db = DataFlow(
    os.environ.get("DATABASE_URL") or _default(),
    pool_size=20,
    enable_caching=False,
    enable_model_persistence=False,
)


@db.model
class Company:
    """A company.

    Attributes:
        name: Trading name.
    """

    id: str
    name: str
