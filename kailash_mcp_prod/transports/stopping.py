"""What a client hears of a request that the end of the server, or of its channel, cuts short."""

from __future__ import annotations

from typing import Final

from kailash_mcp_prod.errors import UnauthenticatedError, UnavailableError
from kailash_mcp_prod.protocol import Batch, Reply, Request, encode_error, from_server_error
from kailash_mcp_prod.protocol.messages import RequestId

SHUT_DOWN: Final = "The server shut down"
REVOKED: Final = "The credential was revoked"
CHANNEL_ENDED: Final = "The connection ended"


def stopped_during(*, may_have_changed: bool, cause: str = SHUT_DOWN) -> UnavailableError:
    """The error for such a request."""
    if not may_have_changed:
        return UnavailableError(f"{cause} during the request. Try again.")
    return UnavailableError(
        f"{cause} during the call. See whether its change was stored before you try again.",
        details={"outcome": "unknown"},
    )


def stopped_serving(message: Request | Batch, cause: str = SHUT_DOWN) -> UnavailableError:
    """The error for a message of MCP."""
    return stopped_during(may_have_changed=may_have_changed(message), cause=cause)


def stopped_reply(message: Request | Batch, request_id: str, cause: str = SHUT_DOWN) -> Reply:
    """The same as a response."""
    error = from_server_error(stopped_serving(message, cause), request_id)
    return encode_error(id_of(message), error)


def revoked_during(message: Request | Batch) -> UnauthenticatedError:
    """The error for a message of MCP that ended because its credential was revoked."""
    if not may_have_changed(message):
        return UnauthenticatedError(f"{REVOKED} during the request.")
    return UnauthenticatedError(
        f"{REVOKED} during the call. Whether its change was stored is not known.",
        details={"outcome": "unknown"},
    )


def revoked_reply(message: Request | Batch, request_id: str) -> Reply:
    """The same as a response."""
    error = from_server_error(revoked_during(message), request_id)
    return encode_error(id_of(message), error)


def may_have_changed(message: Request | Batch) -> bool:
    """Whether a message may have changed something."""
    return isinstance(message, Batch) or message.method == "tools/call"


def id_of(message: Request | Batch) -> RequestId | None:
    """The id of a request; a batch has none."""
    return message.id if isinstance(message, Request) else None
