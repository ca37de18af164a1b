"""What workflows return, as plain JSON values of a bounded size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from kailash_mcp_prod.errors import ServerError

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 200_000
MAX_BYTES: Final = 8 * 1024 * 1024
_ENCODER_FAILS: Final = (TypeError, ValueError, OverflowError, RecursionError)


class ResultTooLargeError(ServerError):
    """A workflow has run, and its results are more than can be given."""

    code = "internal"
    http_status = 500


def json_safe(value: Any) -> Any:
    """The value as JSON has it; nothing in it is shared with the original.

    Decimals and instants become text, bytes Base64, sets arrays, dataclasses and pydantic's models
    objects, arrays and tables of numpy and pandas arrays. What is nothing of that becomes the name
    of its type in angle brackets; so does what contains itself.

    Raises:
        ResultTooLargeError: It is nested too deeply, or has too many values.
    """
    # Most results are plain, and this is many times as fast.
    try:
        encoded = msgspec.json.encode(value, enc_hook=_refuse)
    except _ENCODER_FAILS:
        encoded = msgspec.json.encode(_Plain().of(value, 0))
    if len(encoded) > MAX_BYTES:
        raise _too_large(f"{MAX_BYTES} bytes")
    if encoded.count(b"{") + encoded.count(b"[") > MAX_DEPTH:
        # Only then it can be nested deeper.
        return _Plain().of(msgspec.json.decode(encoded), 0)
    return msgspec.json.decode(encoded)


def _refuse(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def _too_large(most: str) -> ResultTooLargeError:
    return ResultTooLargeError(
        f"The workflow has run, but its results are more than {most}. Let it return less.",
        details={"outcome": "unknown"},
    )


class _Plain:
    """Walks through one value."""

    def __init__(self) -> None:
        self._left = MAX_VALUES
        self._around: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _too_large(f"{MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise _too_large(f"{MAX_DEPTH} levels")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value).encode("utf-8", "replace").decode()
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else None
        if id(value) in self._around:
            return _named(value)
        self._around.add(id(value))
        try:
            return self._composed(value, depth)
        finally:
            self._around.discard(id(value))

    def _composed(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {_key(name): self.of(each, depth + 1) for name, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return self._array(value, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = (each.name for each in dataclasses.fields(value))
            return {name: self.of(getattr(value, name), depth + 1) for name in names}
        if isinstance(value, BaseException):
            return _named(value)
        foreign = _foreign(value)
        if foreign is not value:
            return self.of(foreign, depth)
        try:
            return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_refuse))
        except _ENCODER_FAILS:
            return _named(value)

    def _array(self, values: Iterable[Any], depth: int) -> list[Any]:
        return [self.of(each, depth + 1) for each in values]


def _foreign(value: Any) -> Any:
    """The same in Python's own types, for what numpy, pandas and pydantic have."""
    kind = type(value)
    home = kind.__module__.partition(".")[0]
    if home == "pandas":
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            return value.to_dict("records")
        for name in ("tolist", "isoformat"):
            if hasattr(value, name):
                return getattr(value, name)()
    if home == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(kind, "model_fields") and hasattr(value, "model_dump"):
        return value.model_dump()
    return value


def _named(value: Any) -> str:
    """All that is said of what is no data: its text might be anything."""
    return f"<{type(value).__name__}>"


def _key(name: Any) -> str:
    if isinstance(name, str):
        return name.encode("utf-8", "replace").decode()
    if isinstance(name, bool) or name is None:
        return {True: "true", False: "false", None: "null"}[name]
    if isinstance(name, int | float):
        return str(name)
    try:
        encoded = msgspec.json.decode(msgspec.json.encode(name, enc_hook=_refuse))
    except _ENCODER_FAILS:
        return _named(name)
    return encoded if isinstance(encoded, str) else str(encoded)
