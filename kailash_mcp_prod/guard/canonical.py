"""One text for all JSON values that mean the same, and different texts for all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_encoder = msgspec.json.Encoder(order="sorted")
_SIMPLE: Final = frozenset({str, int, bool, type(None)})


def canonical(arguments: Mapping[str, Any]) -> bytes | None:
    """The arguments of a call as canonical JSON; `None` when they are not plain JSON values.

    The order of members does not matter, nor how a number was written. `1`, `1.0`, `true` and
    `"1"` are four different values.

    Example:
        `canonical({"b": 1, "a": 1e2}) == b'{"a":100.0,"b":1}'`
    """
    try:
        # Encoding would make a text of a Decimal and null of a NaN, as if they were the same.
        return _encoder.encode(arguments) if _is_json(arguments) else None
    except (ValueError, RecursionError):
        # An integer of thousands of digits, half a character, or something nested too deeply.
        return None


def _is_json(value: Any) -> bool:
    kind = type(value)
    if kind in _SIMPLE:
        return True
    if kind is dict:
        return all(type(name) is str and _is_json(each) for name, each in value.items())
    if kind is list:
        return all(map(_is_json, value))
    return kind is float and math.isfinite(value)
