from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.tools.keys import MAX_KEY_LENGTH, for_tool, with_key
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec


def call(arguments: dict[str, Any], key: str | None = None) -> ToolCall:
    return ToolCall(ANONYMOUS, arguments, "r1", idempotency_key=key)


async def run(_call: ToolCall) -> dict[str, Any]:
    return {}


def tool(*, read_only: bool, takes_keys: bool) -> ToolSpec:
    hints = Hints(read_only=read_only, destructive=False, idempotent=False)
    return ToolSpec("t", "", "", {}, {}, hints, (), "g", run, takes_keys=takes_keys)


def test_the_key_is_taken_out_of_a_copy_of_the_arguments() -> None:
    given = {"a": 1, "_idempotency_key": "k"}
    taken = with_key(call(given))

    assert (taken.arguments, taken.idempotency_key) == ({"a": 1}, "k")
    assert given == {"a": 1, "_idempotency_key": "k"}


def test_a_call_without_a_key_is_left_alone() -> None:
    plain = call({"a": 1})
    assert with_key(plain) is plain


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_LENGTH + 1), "a\nb", "\ud800", 7, None, ["k"]])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        with_key(call({"_idempotency_key": key}))
    assert refused.value.field == "_idempotency_key"
    if isinstance(key, str):
        with pytest.raises(InvalidArgumentsError):
            with_key(call({}, key))


def test_two_keys_have_to_be_the_same() -> None:
    assert with_key(call({"_idempotency_key": "k"}, "k")).idempotency_key == "k"
    with pytest.raises(InvalidArgumentsError, match="two different keys"):
        with_key(call({"_idempotency_key": "k"}, "other"))


def test_a_tool_that_reads_needs_no_key_and_others_have_to_heed_it() -> None:
    keyed = call({}, "k")

    assert for_tool(keyed, tool(read_only=False, takes_keys=True)) is keyed
    assert for_tool(keyed, tool(read_only=True, takes_keys=False)).idempotency_key is None
    with pytest.raises(InvalidArgumentsError, match="takes no key"):
        for_tool(keyed, tool(read_only=False, takes_keys=False))
