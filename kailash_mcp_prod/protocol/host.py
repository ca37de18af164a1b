"""What the protocol needs from the rest of the server.

All lists and answers are for one principal: what it may not use it never sees. A host raises
`ServerError` for what a caller may know of a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.protocol.peer import SILENT, Peer
from kailash_mcp_prod.spliced_gzip import CompressedPart

Unsubscribe = Callable[[], None]
Audience = Callable[[Principal], bool]
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolContent:
    """A tool's result in blocks of content, for tools that have more to say than JSON.

    Args:
        blocks: MCP `ContentBlock` objects.
        structured: The structured result, if there is one.
        is_error: Whether the blocks tell of a failure.
    """

    blocks: Sequence[JsonObject]
    structured: JsonObject | None = None
    is_error: bool = False


class ToolList(Protocol):
    """An encoded list of tools; `tools.lists.EncodedList` is one."""

    @property
    def body(self) -> bytes:
        """A JSON array of MCP `Tool` objects, put into responses as it is."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that is the same exactly for the same list."""
        ...

    @property
    def part(self) -> CompressedPart:
        """The array for compressed responses."""
        ...


class ToolHost(Protocol):
    """The tools behind the protocol; `tools.ToolService` is one."""

    def check_surface(self, principal: Principal, name: str) -> None:
        """See whether there is a set of tools of this name for a principal, such as `compact`.

        Raises:
            NotFoundError: There is none; it says which there are.
        """
        ...

    def encoded_list(self, principal: Principal, surface: str | None = None) -> ToolList:
        """The tools this principal may see; `None` is its own surface."""
        ...

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: JsonObject,
        *,
        request_id: str,
        surface: str | None = None,
        peer: Peer = SILENT,
        idempotency_key: str | None = None,
    ) -> JsonObject | ToolContent:
        """Run a tool and return its JSON-safe structured result, or its content.

        With an idempotency key, a call that is sent again changes nothing more.

        Raises:
            ServerError: The call failed; `UnknownToolError` when there is no such tool.
            Interruption: `peer` needs an answer of the client first.
        """
        ...

    async def charge(self, principal: Principal) -> None:
        """Count a message that is no request, as if it were a call.

        Raises:
            RateLimitedError: The principal has used up its calls.
        """
        ...

    def header_arguments(self, principal: Principal, name: str) -> Mapping[str, tuple[str, ...]]:
        """Which arguments of a tool clients repeat in headers.

        By what follows `Mcp-Param-`, in lower case, the path of each; empty for a tool that is
        unknown, or that the principal may not call.
        """
        ...

    def on_tools_changed(self, listener: Callable[[], None]) -> Unsubscribe:
        """Call `listener` whenever a tool list changed. Returns a function that ends it."""
        ...

    async def ready(self) -> None:
        """Wait until tools can be listed and called.

        Raises:
            UnavailableError: They never will be.
        """
        ...


class ResourceHost(Protocol):
    """The resources behind the protocol."""

    async def resources(self, principal: Principal) -> Sequence[JsonObject]:
        """MCP `Resource` objects in a fixed order."""
        ...

    async def templates(self, principal: Principal) -> Sequence[JsonObject]:
        """MCP `ResourceTemplate` objects in a fixed order."""
        ...

    async def read_resource(
        self, principal: Principal, uri: str, *, request_id: str, peer: Peer
    ) -> Sequence[JsonObject]:
        """The contents of a resource.

        Raises:
            NotFoundError: There is none of this URI for the principal.
        """
        ...

    def on_resources_changed(self, listener: Callable[[], None]) -> Unsubscribe:
        """Call `listener` whenever the list changed. Returns a function that ends it."""
        ...

    def on_resources_updated(
        self, listener: Callable[[Sequence[str], Audience], None]
    ) -> Unsubscribe:
        """Call `listener` with the URIs of resources that changed; ends like the others.

        With them it says who may hear of it: not everybody who may read a resource may know of
        everything that changes it.
        """
        ...


class PromptHost(Protocol):
    """The prompts behind the protocol."""

    async def prompts(self, principal: Principal) -> Sequence[JsonObject]:
        """MCP `Prompt` objects in a fixed order."""
        ...

    async def get_prompt(
        self,
        principal: Principal,
        name: str,
        arguments: Mapping[str, str],
        *,
        request_id: str,
        peer: Peer,
    ) -> JsonObject:
        """The prompt's `messages` and, if there is one, its `description`.

        Raises:
            NotFoundError: There is no such prompt for the principal.
            InvalidArgumentsError: An argument is missing, unknown or wrong.
        """
        ...

    def on_prompts_changed(self, listener: Callable[[], None]) -> Unsubscribe:
        """Call `listener` whenever the list changed. Returns a function that ends it."""
        ...


@dataclass(frozen=True, slots=True)
class Completions:
    """Values that an argument may take, the likeliest first.

    `total` is how many are known, if not these alone; `more` says that there are more than that.
    """

    values: Sequence[str]
    total: int | None = None
    more: bool = False


class FoundValues(Protocol):
    """What completes an argument; `Completions` is one."""

    @property
    def values(self) -> Sequence[str]:
        """The likeliest first."""

    @property
    def total(self) -> int | None:
        """How many are known, if not these alone."""

    @property
    def more(self) -> bool:
        """Whether there are more than are known, so that nobody can say how many."""


class CompletionHost(Protocol):
    """What completes the arguments of prompts and the variables of resource templates."""

    async def complete(
        self,
        principal: Principal,
        reference: JsonObject,
        argument: str,
        value: str,
        given: Mapping[str, str],
        *,
        request_id: str,
    ) -> FoundValues:
        """Values that begin with, or are like, what was typed.

        Args:
            principal: Who asks.
            reference: An MCP `PromptReference` or `ResourceTemplateReference`.
            argument: The argument or variable.
            value: What was typed so far.
            given: The arguments that have a value already.
            request_id: Stands in the log and in errors.

        Raises:
            NotFoundError: There is no such prompt, template or argument for the principal.
        """
        ...


class Revocations(Protocol):
    """Knows when a credential ends before its time."""

    def on_revoked(self, principal: Principal, callback: Callable[[], None]) -> Unsubscribe:
        """Call back once when the principal's credential is no longer good.

        Returns:
            A function that forgets the callback.
        """
        ...


class Authenticator(Protocol):
    """Turns what a transport found on a request into the caller's identity."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials.

        Raises:
            UnauthenticatedError: They are missing, wrong or expired.
        """
        ...
