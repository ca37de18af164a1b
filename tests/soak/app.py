"""The application under soak: what it stores has no constraint that would hide a doubled write."""

from __future__ import annotations

import os

from dataflow import DataFlow

db = DataFlow(
    os.environ["DATABASE_URL"],
    pool_size=10,
    enable_caching=False,
    enable_model_persistence=False,
)


@db.model
class Note:
    """A note of an agent."""

    name: str
    version: int = 0
    body: str = ""

    __dataflow__ = {"multi_tenant": True}  # noqa: RUF012 - as DataFlow documents it
