"""How log lines look: JSON, or key-value pairs for a terminal. No text can forge a line in either.

Lines of calls are made here and not by structlog, which takes twenty times as long.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import msgspec

from kailash_mcp_prod.observe.log_writer import Form

CALLS: Final = "kailash_mcp_prod.calls"
_FIRST: Final = ("time", "level", "event", "logger")

of_process: dict[str, Any] = {}
"""What stands in every line of this process, where several log to one place."""


class Rendered:
    """A line that was made when it was logged, in each form that is needed."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Mapping[Form, bytes]) -> None:
        self._texts = texts

    def text(self, form: Form) -> bytes:
        """It, with its end."""
        return self._texts[form]


class CallLine(msgspec.Struct, gc=False):
    """One call, as it is told in the log."""

    ended: float
    request_id: str
    agent: str
    tool: str
    outcome: str
    seconds: float
    from_cache: bool
    transport: str
    session_id: str | None
    is_part: bool
    more: dict[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """What stands in the line beside its time, level and logger."""
        found: dict[str, Any] = {
            "request_id": self.request_id,
            "agent": self.agent,
            "tool": self.tool,
            "outcome": self.outcome,
            "duration_ms": round(self.seconds * 1000, 3),
            "from_cache": self.from_cache,
        }
        if self.transport:
            found["transport"] = self.transport
        if self.session_id is not None:
            # Whoever reads the log must not be able to use the session.
            found["session"] = digest(self.session_id)
        if self.is_part:
            found["part"] = True
        if self.more is not None:
            found.update(self.more)
        return found

    def text(self, form: Form) -> bytes:
        """The line, with its end."""
        head: dict[str, Any] = {"time": _iso(self.ended), "level": "info", "event": "call"}
        fields = {**self.fields(), **of_process}
        if form == "json":
            return json_line({**head, "logger": CALLS, **fields})
        values = " ".join(f"{name}={value!r}" for name, value in fields.items())
        line = f"{head['time']} [info     ] {'call':30} [{CALLS}] {values}\n"
        return line.encode("utf-8", "backslashreplace")


def digest(text: str) -> str:
    """A few characters by which the same text is recognised, and that do not lead back to it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def json_line(fields: Mapping[str, Any]) -> bytes:
    """An object in one line of ASCII, so that nothing in it ends a line or reaches a terminal."""
    try:
        encoded = msgspec.json.encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # It holds what JSON has no form for, such as half a character.
        encoded = b"\xff"
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded + b"\n"
    text = json.dumps(fields, default=repr, skipkeys=True).replace("\x7f", "\\u007f")
    return text.encode() + b"\n"


def on_one_line(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: escapes what a message holds beside what can be printed."""
    message = str(event.get("event", ""))
    if not message.isprintable():
        event["event"] = repr(message)[1:-1]
    return event


def merge_process(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: adds what stands in every line of this process."""
    return {**event, **of_process}


def to_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """The last processor of structlog for the form `json`."""
    fields = {"time": event.pop("timestamp", ""), **event}
    first: dict[str, Any] = {name: fields[name] for name in _FIRST if name in fields}
    return json_line({**first, **fields}).decode().rstrip("\n")


_second: tuple[int, str] = (0, "")


def _iso(moment: float) -> str:
    global _second  # noqa: PLW0603 - only the writer's thread gets here often
    whole = int(moment)
    known, text = _second
    if known != whole:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = (whole, text)
    return f"{text}.{int((moment - whole) * 1_000_000):06d}Z"
