"""The messages that a client may send, after validation of their JSON-RPC envelope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from kailash_mcp_prod.protocol.faults import RpcError

RequestId = str | int
Params = dict[str, Any]


class Request(msgspec.Struct, frozen=True):
    """A call that is owed exactly one response."""

    id: RequestId
    method: str
    params: Params

    @property
    def meta(self) -> Any:
        """The value of `params._meta`, unchecked; `None` when it is missing."""
        return self.params.get("_meta")


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that is never answered."""

    method: str
    params: Params


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """A client's answer to a request of the server: its encoded result, or `None` for an error."""

    id: RequestId | None
    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class Invalid:
    """An element of a batch that is no JSON-RPC message."""

    id: RequestId | None
    error: RpcError


@dataclass(frozen=True, slots=True)
class Batch:
    """Several messages in one JSON array, as revision 2025-03-26 allows them."""

    items: tuple[Request | Notification | ClientResponse | Invalid, ...]

    @property
    def expects_reply(self) -> bool:
        """Whether any element is owed a response."""
        return any(isinstance(item, Request | Invalid) for item in self.items)


Message = Request | Notification | ClientResponse | Batch


class Reply(msgspec.Struct, frozen=True):
    """An encoded response or array of responses.

    `error_code` is the JSON-RPC code when the whole reply is one error, so that a transport can
    choose its own status for it. `is_error` says that the result is one with `isError`.
    """

    body: bytes
    error_code: int | None = None
    is_error: bool = False
