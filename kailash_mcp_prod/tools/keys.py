"""The idempotency key of a call: a reserved argument, which no tool's schema lists."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

KEY_ARGUMENT: Final = "_idempotency_key"
MAX_KEY_LENGTH: Final = 255


def with_key(call: ToolCall) -> ToolCall:
    """The call with its key taken out of the arguments, if it stands there.

    Raises:
        InvalidArgumentsError: The key is none, or not the one that the call has already.
    """
    if KEY_ARGUMENT not in call.arguments:
        if call.idempotency_key is not None:
            _check(call.idempotency_key)
        return call
    arguments = dict(call.arguments)
    key = _check(arguments.pop(KEY_ARGUMENT))
    if call.idempotency_key not in {None, key}:
        raise InvalidArgumentsError(
            f"{KEY_ARGUMENT}: the call has two different keys. Give one.", field=KEY_ARGUMENT
        )
    return replace(call, arguments=arguments, idempotency_key=key)


def for_tool(call: ToolCall, tool: ToolSpec) -> ToolCall:
    """The call as that tool takes it: one that only reads needs no key.

    Raises:
        InvalidArgumentsError: There is a key, and the tool can't do anything once only.
    """
    if call.idempotency_key is None or tool.takes_keys:
        return call
    if tool.hints.read_only:
        return replace(call, idempotency_key=None)
    raise InvalidArgumentsError(
        f"{KEY_ARGUMENT}: {tool.name} takes no key: sent again, it would run again. Call it "
        "without one.",
        field=KEY_ARGUMENT,
    )


def _check(key: object) -> str:
    if isinstance(key, str) and 1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable():
        return key
    raise InvalidArgumentsError(
        f"{KEY_ARGUMENT}: a text of 1 to {MAX_KEY_LENGTH} printable characters is required, new "
        "for each change.",
        field=KEY_ARGUMENT,
    )
