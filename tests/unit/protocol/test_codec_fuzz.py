"""Whatever comes in, the codec answers with a message or with an error of its own."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.protocol import (
    Batch,
    ClientResponse,
    InvalidMessageError,
    Notification,
    Request,
    decode,
    encode_error,
)
from kailash_mcp_prod.protocol.codec import encode_result
from tests import wire_schema
from tests.behaviour.mutator import assert_tells_nothing, damaged
from tests.unit.protocol.conftest import Client

QUICK = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | VALUES,
        "id": st.integers() | TEXTS | VALUES,
        "method": st.sampled_from(["ping", "tools/list", "tools/call"]) | VALUES,
        "params": st.dictionaries(TEXTS, VALUES, max_size=4) | VALUES,
        "result": VALUES,
        "error": VALUES,
        "extra": VALUES,
    },
)


def outcome_of(body: bytes) -> Any:
    """The message; or the error, whose text has to be fit to be sent."""
    try:
        return decode(body)
    except InvalidMessageError as error:
        reply = encode_error(error.id, error)
        assert_tells_nothing(reply.body)
        wire_schema.check_response(wire_schema.MODERN, json.loads(reply.body))
        return error


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error(body: bytes) -> None:
    outcome_of(body)


@QUICK
@given(st.text(st.sampled_from(string.digits + '{}[]":,.-+eE \\untrfalsj'), max_size=60))
def test_any_scraps_of_json_are_a_message_or_an_error(text: str) -> None:
    outcome_of(text.encode())


@QUICK
@given(MEMBERS | st.lists(MEMBERS, max_size=3) | VALUES)
def test_any_json_is_sorted_by_what_json_rpc_says(value: Any) -> None:
    outcome = outcome_of(json.dumps(value).encode())

    if isinstance(outcome, Request | Notification):
        assert value["jsonrpc"] == "2.0"
        assert value["method"] == outcome.method
        assert ("id" in value) is isinstance(outcome, Request)
    elif isinstance(outcome, ClientResponse):
        assert ("result" in value) is not ("error" in value)
    elif isinstance(outcome, Batch):
        assert len(outcome.items) == len(value)
    else:
        assert isinstance(outcome, InvalidMessageError)
        if isinstance(value, dict) and value.get("jsonrpc") == "2.0":
            assert not _is_good_request(value)


def _is_good_request(value: dict[str, Any]) -> bool:
    """Whether nothing can be wrong with a request, by a reading of our own."""
    fine = json.dumps(value)
    if any(word in fine for word in ("NaN", "Infinity")) or len(fine) > 4000:
        return False
    return (
        isinstance(value.get("id"), str)
        and isinstance(value.get("method"), str)
        and isinstance(value.get("params", {}), dict)
        and not {"result", "error"} & value.keys()
        and "e+" not in fine
    )


@QUICK
@given(st.integers() | TEXTS, VALUES)
def test_what_is_encoded_is_json_that_means_the_same(message_id: Any, value: Any) -> None:
    body = encode_result(message_id, value).body

    assert b"\n" not in body
    assert msgspec.json.decode(body)["id"] == message_id
    assert json.loads(body).keys() == {"jsonrpc", "id", "result"}


async def test_damaged_messages_are_answered_by_the_dispatcher(client: Client) -> None:
    await client.initialize()
    for text in damaged(2000, seed=3):
        if b"subscriptions/listen" in text:
            continue
        reply = await client.dispatcher.receive(text, client.context())
        if reply is not None:
            assert_tells_nothing(reply.body)
            json.loads(reply.body)
