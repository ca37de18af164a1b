"""What the log may show of arguments and results, where it shows any: masked and cut short."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

MASKED: Final = "***"
_LONGEST_TEXT: Final = 100
_MOST_ITEMS: Final = 20
_DEEPEST: Final = 4
_SECRET: Final = re.compile(
    r"passw|passphrase|secret|token|api_?key|authori[sz]ation|credential|cookie|private_?key|"
    r"session_?id|signature|(^|_)(pin|cvv|otp|ssn|iban)(_|$)",
    re.IGNORECASE,
)


def masked(value: Any, hidden: Collection[str] = (), depth: int = 0) -> Any:
    """A value as it may stand in the log.

    Args:
        value: Of JSON.
        hidden: Names of fields whose values are not shown, wherever they stand.
        depth: How deep it lies in what is logged.
    """
    if isinstance(value, str):
        cut = len(value) > _LONGEST_TEXT
        return f"{value[:_LONGEST_TEXT]}… ({len(value)} characters)" if cut else value
    if isinstance(value, Mapping):
        if depth >= _DEEPEST:
            return f"{len(value)} members"
        shown = {
            str(name)[:_LONGEST_TEXT]: (
                MASKED
                if name in hidden or _SECRET.search(str(name))
                else masked(each, hidden, depth + 1)
            )
            for name, each in list(value.items())[:_MOST_ITEMS]
        }
        if len(value) > _MOST_ITEMS:
            shown["…"] = f"{len(value)} members"
        return shown
    if isinstance(value, list | tuple):
        if depth >= _DEEPEST or len(value) > _MOST_ITEMS:
            return f"{len(value)} items"
        return [masked(each, hidden, depth + 1) for each in value]
    return value


def shape(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a result consists of: names and kinds, lists by their length, no value."""
    found: dict[str, Any] = {}
    for name, value in list(result.items())[:_MOST_ITEMS]:
        if isinstance(value, list | tuple):
            found[name] = f"{len(value)} items"
        elif isinstance(value, Mapping):
            found[name] = f"{len(value)} members"
        else:
            found[name] = type(value).__name__
    return found
