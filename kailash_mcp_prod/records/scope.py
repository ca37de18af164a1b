"""Which part of a model's records a caller may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kailash_mcp_prod.records.query import EVERYTHING, Condition


@dataclass(frozen=True, slots=True)
class Scope:
    """A caller's part of the records: for all others, the rest does not exist.

    `rows` holds of every record that may be read, counted, changed or deleted. `values` are set
    in every new record, whatever the caller gave; their fields may be hidden ones. `check`, which
    is a part of `rows`, has to hold of a record after a write too; without it, `values` see to
    that. It is for those who write, such as `RecordOperation`; stores do not look at it.
    """

    rows: Condition = EVERYTHING
    values: Mapping[str, Any] = field(default_factory=dict)
    check: Condition | None = None


OPEN = Scope()
