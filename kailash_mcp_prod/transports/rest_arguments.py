"""The arguments of a call over REST: the body of its request, within limits."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.protocol.nesting import nests_deeper_than
from kailash_mcp_prod.transports.asgi import BodyTooLargeError, Receive
from kailash_mcp_prod.transports.body_budget import BodyBudget
from kailash_mcp_prod.transports.http_headers import is_json

_MAX_DEPTH = 64


class Charging(Protocol):
    """Counts messages; `ToolService` does."""

    async def charge(self, principal: Principal) -> None:
        """Counts a message that is no call, as if it were one."""


class BodyTooLongError(InvalidArgumentsError):
    """The request's body is over the limit."""

    http_status = 413


class UnsupportedBodyError(InvalidArgumentsError):
    """The request's body is not JSON."""

    http_status = 415


async def read_arguments(
    receive: Receive,
    host: Charging,
    bodies: BodyBudget,
    principal: Principal,
    *,
    content_length: str | None,
    content_type: str | None,
) -> dict[str, Any]:
    """Reads the arguments.

    Args:
        receive: Gives the body.
        host: Counts a body that is none as a call.
        bodies: How much is read, at once and in all.
        principal: Who calls.
        content_length: The header of that name.
        content_type: The header of that name.

    Raises:
        InvalidArgumentsError: They are no JSON object, or too long.
    """
    try:
        body = await bodies.read(receive, content_length, principal.subject)
    except BodyTooLargeError:
        raise BodyTooLongError(
            f"The body is longer than {bodies.longest} bytes. Send less at once."
        ) from None
    try:
        return _arguments_in(body, content_type)
    except InvalidArgumentsError:
        # No call counts it.
        await host.charge(principal)
        raise


def _arguments_in(body: bytes, content_type: str | None) -> dict[str, Any]:
    if body and not is_json(content_type):
        raise UnsupportedBodyError("Send JSON, with Content-Type: application/json.")
    if nests_deeper_than(_MAX_DEPTH, body):
        raise InvalidArgumentsError(f"The body is nested deeper than {_MAX_DEPTH} levels.")
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise InvalidArgumentsError("The body must be a JSON object.") from None
