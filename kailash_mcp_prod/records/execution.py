"""How a model's records are reached, and why so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Execution:
    """The store that a model got: `sql` statements of ours, or DataFlow's generated `nodes`.

    `reason` is a sentence for operators and agents.
    """

    store: Literal["sql", "nodes"]
    reason: str
