"""The client behind a call, as far as a tool may use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from kailash_mcp_prod.errors import InvalidArgumentsError


class Peer(Protocol):
    """Told of progress and asked for more; `protocol.Peer` is one."""

    @property
    def transport(self) -> str:
        """Which transport it is on, such as `http`; empty where there is no client of MCP."""
        ...

    def can(self, capability: str) -> bool:
        """Whether the client has a capability, such as `elicitation`."""
        ...

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tells how far the call is, if the client wants to know; figures have to grow."""
        ...

    async def log(self, level: str, data: Any, logger: str | None = None) -> None:
        """Sends a message of a level of RFC 5424, such as `info`, if the client wants it."""
        ...

    async def elicit(self, message: str, schema: Mapping[str, Any], key: str = "input") -> Any:
        """Asks the user to fill a form; the MCP `ElicitResult` object.

        A tool may run again from its beginning once the user has answered, so it asks before it
        changes anything, and lets `errors.Interruption` pass.
        """
        ...

    async def defer(self) -> None:
        """Says that the call will take long: it becomes a task, if the client takes tasks."""
        ...


class _Nobody:
    """A caller without a client: REST and Python."""

    transport = ""

    def can(self, _capability: str) -> bool:
        return False

    async def progress(
        self, _progress: float, _total: float | None = None, _message: str | None = None
    ) -> None:
        """Tells nobody."""

    async def log(self, _level: str, _data: Any, _logger: str | None = None) -> None:
        """Tells nobody."""

    async def defer(self) -> None:
        """There is nobody who would take a task."""

    async def elicit(self, message: str, _schema: Mapping[str, Any], _key: str = "input") -> Any:
        raise InvalidArgumentsError(
            f"This tool has to ask its user ({message}). Call it over MCP, with a client that has "
            "the capability elicitation."
        )


NOBODY: Peer = _Nobody()
