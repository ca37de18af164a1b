"""A tool as the server knows it, and one call of it.

The call is a struct of msgspec, because one is made for each request, and dataclasses that are
frozen take ten times as long to make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import Mask
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.peer import NOBODY, Peer

if TYPE_CHECKING:
    from kailash_mcp_prod.records.store import Transaction


Companion = Callable[["Transaction", dict[str, Any]], Awaitable[None]]
"""Stores something of its own with the change of a call, in the same transaction."""


class ToolCall(msgspec.Struct, frozen=True):
    """One call: who calls, with which arguments, under which request id, by which client.

    With an `idempotency_key` it is done once, however often it is sent. `session_id` is the agent
    session in which it is made, as the caller says. For the call of a record tool that takes keys a
    `companion` can take the place of the key: it gets the transaction and the result, and what it
    raises undoes the change. A record tool works `within` a transaction of its store, if one is
    given.
    """

    principal: Principal
    arguments: Mapping[str, Any]
    request_id: str
    peer: Peer = NOBODY
    idempotency_key: str | None = None
    session_id: str | None = None
    companion: Companion | None = None
    within: Transaction | None = None


_FAILED: Final = {
    "type": "object",
    "properties": {"error": {"type": "object", "description": "Why the call failed."}},
    "required": ["error"],
}

DATABASE: Final = "database"
"""The backend of the record tools."""

Handler = Callable[[ToolCall], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Hints:
    """MCP's tool annotations: what a client may think of a tool before it calls it."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool = False

    def to_mcp(self, *, complete: bool) -> dict[str, bool]:
        """The annotations of an MCP `Tool` object; its title stands beside them.

        Args:
            complete: Say also what the specification makes of an annotation that is not there: how
                a tool changes things that changes nothing, and that it is not idempotent.
        """
        told = {"readOnlyHint": self.read_only}
        if complete or not self.read_only:
            told["destructiveHint"] = self.destructive
            if complete or self.idempotent:
                told["idempotentHint"] = self.idempotent
        return {**told, "openWorldHint": self.open_world}


@dataclass(frozen=True, slots=True)
class Listing:
    """What tool lists say of a tool whose name says the rest, when they are to be short.

    It replaces title, description and schema. `input_schema` accepts whatever the tool's own
    schema accepts, and may say less of it.
    """

    description: str
    input_schema: Mapping[str, Any]


class Family(Protocol):
    """The tools of one model, for those who see all of its fields and for those who do not."""

    @property
    def model(self) -> Model:
        """The model with all its fields."""

    def masked(self, name: str, mask: Mask) -> ToolSpec | None:
        """The tool of that name for callers under a mask; `None` when they can't use it."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool: what clients are told of it, what a caller needs for it, and what runs it.

    `permissions` are all required: `Company:create` asks for that operation of that model. A tool
    without any is there for every caller, and has to look itself what that caller may see.
    `handler` validates the arguments and returns the structured result, or raises a
    `ServerError`. `operation` is what the tool does with the records of the model that `group`
    names, if it is a record tool. `listing` makes lists short. A tool that is not `listed` is there
    for other tools that stand for it, such as those of the surface `compact`, and for nobody else.
    `family` makes the tool for callers who may not reach all fields of the model. `backend` is what
    the tool can't do without, such as `database`; when that fails again and again, the tool is not
    run for a while. With `runs_others` it fails as the tools do that it calls, and is never left
    alone itself. With `takes_keys`, `handler` heeds the idempotency key of a call.
    """

    name: str
    title: str
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any]
    hints: Hints
    permissions: tuple[str, ...]
    group: str
    handler: Handler
    operation: str | None = None
    listing: Listing | None = None
    backend: str | None = None
    listed: bool = True
    takes_keys: bool = False
    runs_others: bool = False
    family: Family | None = field(default=None, compare=False, repr=False)

    @property
    def read_only(self) -> bool:
        """Whether it changes nothing."""
        return self.hints.read_only

    def to_mcp(self, *, complete: bool) -> dict[str, Any]:
        """The tool as an MCP `Tool` object (revisions 2025-11-25 and 2026-07-28).

        Args:
            complete: Whether it has the exact schemas, of the result too, or the short listing.
        """
        tool: dict[str, Any] = {"name": self.name}
        if self.listing is None or complete:
            tool |= {
                "title": self.title,
                "description": self.description,
                "inputSchema": self.input_schema,
            }
        else:
            tool |= {
                "description": self.listing.description,
                "inputSchema": self.listing.input_schema,
            }
        if complete:
            # Clients hold the results of failed calls against it too.
            tool["outputSchema"] = {"type": "object", "anyOf": [self.output_schema, _FAILED]}
        tool["annotations"] = self.hints.to_mcp(complete=complete)
        return tool
