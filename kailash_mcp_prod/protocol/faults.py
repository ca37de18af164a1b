"""JSON-RPC error codes and the exception that becomes a JSON-RPC error response.

Source: JSON-RPC 2.0 and the section *Error Codes* of MCP 2026-07-28.
"""

from __future__ import annotations

from typing import Any, Final, Self

from kailash_mcp_prod.errors import (
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
)

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
RESOURCE_NOT_FOUND: Final = -32002
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022

# All others mean that the request is wrong.
_KINDS: Final[dict[int, type[ServerError]]] = {
    METHOD_NOT_FOUND: NotFoundError,
    RESOURCE_NOT_FOUND: NotFoundError,
    INTERNAL_ERROR: InternalError,
}


class RpcError(Exception):
    """A message that ends as a JSON-RPC error.

    Args:
        code: One of the codes of this module.
        message: What is wrong and what to do about it, for the caller.
        data: JSON-safe facts; the error body of `ServerError.to_dict` where there is one.
    """

    def __init__(self, code: int, message: str, *, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def of_request(self, request_id: str) -> Self:
        """The same, with the body that all errors of this server have, beside its own facts."""
        facts = self.data if isinstance(self.data, dict) else {}
        if "request_id" not in facts:
            kind = _KINDS.get(self.code, InvalidArgumentsError)
            self.data = {**kind(self.message).to_dict(request_id), **facts}
        return self


def from_server_error(
    error: ServerError, request_id: str, *, code: int = INTERNAL_ERROR
) -> RpcError:
    """The JSON-RPC error for a `ServerError` that can't be a tool result; its body is the data."""
    return RpcError(code, error.message, data=error.to_dict(request_id))
