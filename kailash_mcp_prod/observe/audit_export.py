"""The audit as text for other programs: JSON lines and CSV."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from kailash_mcp_prod.observe.audit_chain import Row

COLUMNS: Final = (
    *("seq", "time", "who", "tenant", "method", "tool", "model", "operation", "outcome", "denied"),
    *("count", "request_id", "session", "ids", "fields", "transport", "other", "hash"),
)
"""The columns of the CSV; `other` has what has none of its own, as JSON."""

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_TOLD_OTHERWISE: Final = frozenset({*COLUMNS, "at", "prev", "seal"})


def json_line(row: Row) -> str:
    """An entry as a line of JSON: the text that the hash is of, and the hash as the last member."""
    return f'{row.entry[:-1]},"hash":"{row.hash}"}}\n'


def csv_head() -> str:
    """The first line of the CSV."""
    return _line(COLUMNS)


def csv_line(row: Row) -> str:
    """An entry as a line of CSV that no spreadsheet takes for a formula."""
    facts: dict[str, Any] = msgspec.json.decode(row.entry)
    other = {name: value for name, value in facts.items() if name not in _TOLD_OTHERWISE}
    told = {
        **facts,
        "time": time_of(facts["at"]),
        "ids": " ".join(str(each) for each in facts.get("ids", ())),
        "fields": " ".join(facts.get("fields", ())),
        "other": msgspec.json.encode(other).decode() if other else "",
        "hash": row.hash,
    }
    return _line([_harmless(told.get(name)) for name in COLUMNS])


def time_of(seconds: float) -> str:
    """A Unix time for people and programs, in UTC."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _harmless(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _line(values: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue()
