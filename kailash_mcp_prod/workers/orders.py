"""What a supervisor and its workers tell each other, each in one line of JSON over a socket.

Over a socket, because secrets on a command line are there for every user of the machine to see; and
because its end tells a worker that its supervisor is gone, however that ended.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

RETIRE: Final = b"retire\n"
"""To a worker: another one has taken its place."""

HURRY: Final = b"hurry\n"
"""To a worker that was told to end: not to wait for running calls."""


ASK: Final = b"ask\n"
"""To a worker: to answer, as one can whose event loop runs."""

ALIVE: Final = b"alive\n"
"""From a worker: the answer."""


class Assignment(msgspec.Struct, frozen=True):
    """To a worker, as the first line: what it is to serve.

    `ports` are those of MCP and of REST; `given` is the descriptor of the socket over which
    connections to them come; `secret` is what all workers of a run share.
    """

    flags: dict[str, Any]
    config_file: str | None
    secret: bytes
    directory: str
    slot: int
    count: int
    ports: tuple[int, int]
    given: int = -1


class Report(msgspec.Struct, frozen=True):
    """From a worker, once: that clients can connect, or why they can't."""

    urls: dict[str, str] = {}
    failure: str | None = None
    exit_code: int = 1


Line = TypeVar("Line", Assignment, Report)


def to_line(message: Assignment | Report) -> bytes:
    """A message as one line."""
    return msgspec.json.encode(message) + b"\n"


def from_line(line: bytes, kind: type[Line]) -> Line:
    """The message of a line.

    Raises:
        msgspec.DecodeError: It is none of that kind.
    """
    return msgspec.json.decode(line, type=kind)
