from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.protocol.codec import (
    InvalidMessageError,
    decode,
    encode_error,
    encode_notification,
    encode_result,
)
from kailash_mcp_prod.protocol.faults import RpcError
from kailash_mcp_prod.protocol.messages import (
    Batch,
    ClientResponse,
    Invalid,
    Notification,
    Request,
)
from tests import wire_schema


def refused(body: bytes | dict[str, Any]) -> dict[str, Any]:
    """The error response that a body earns."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidMessageError) as caught:
        decode(raw)
    response: dict[str, Any] = json.loads(encode_error(caught.value.id, caught.value).body)
    wire_schema.check_response(wire_schema.LEGACY, response)
    wire_schema.check_response(wire_schema.MODERN, response)
    return response


def test_a_request_keeps_its_id_method_and_parameters() -> None:
    body = b'{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x"}}'

    assert decode(body) == Request("a", "tools/call", {"name": "x"})


def test_missing_parameters_are_an_empty_object() -> None:
    assert decode(b'{"jsonrpc":"2.0","id":1,"method":"ping"}') == Request(1, "ping", {})


def test_a_message_without_an_id_is_a_notification() -> None:
    assert decode(b'{"jsonrpc":"2.0","method":"x"}') == Notification("x", {})


@pytest.mark.parametrize(
    ("body", "response"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"a": 1}}', ClientResponse(7, b'{"a": 1}')),
        (b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m"}}', ClientResponse(7)),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}', ClientResponse(None)),
    ],
)
def test_a_response_of_the_client_is_recognised(body: bytes, response: ClientResponse) -> None:
    assert decode(body) == response


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[",
        b"tru",
        b"\xff\xfe",
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":01}}',
    ],
)
def test_a_text_that_is_no_json_is_a_parse_error_with_a_null_id(body: bytes) -> None:
    response = refused(body)

    assert response["error"]["code"] == -32700
    assert response["id"] is None


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "method": "x"},
        {"jsonrpc": "1.0", "id": 1, "method": "x"},
        {"jsonrpc": 2.0, "id": 1, "method": "x"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": 1, "method": None},
        {"jsonrpc": "2.0", "id": 1, "method": "x", "params": 5},
        {"jsonrpc": "2.0", "id": 1, "method": "x", "params": None},
        {"jsonrpc": "2.0", "id": 1, "method": "x", "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
    ],
)
def test_json_that_is_no_message_is_an_invalid_request_under_its_id(
    message: dict[str, Any],
) -> None:
    response = refused(message)

    assert response["error"]["code"] == -32600
    assert response["id"] == 1


@pytest.mark.parametrize("bad_id", [True, False, None, 1.5, 1.0, [], {}])
def test_an_id_must_be_a_string_or_an_integer(bad_id: Any) -> None:
    response = refused({"jsonrpc": "2.0", "id": bad_id, "method": "ping"})

    assert response["error"]["code"] == -32600
    assert response["id"] is None


@pytest.mark.parametrize("body", [b"1", b"null", b'"x"', b"true", b"{}"])
def test_a_json_value_that_is_no_object_is_an_invalid_request(body: bytes) -> None:
    assert refused(body)["error"]["code"] == -32600


def test_parameters_by_position_are_invalid_parameters() -> None:
    response = refused({"jsonrpc": "2.0", "id": 1, "method": "x", "params": [1]})

    assert response["error"]["code"] == -32602
    assert response["id"] == 1


def test_a_deeply_nested_message_is_refused_without_decoding() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b'{"a":' * 200_000

    assert "nested" in refused(body)["error"]["message"]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30, -(10**400), 2**53 + 1])
def test_an_integer_of_any_size_survives_exactly(number: int) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "x", "params": {"n": number}})

    message = decode(body.encode())

    assert message == Request(number, "x", {"n": number})
    assert json.loads(encode_result(number, {"n": number}).body)["result"] == {"n": number}


@pytest.mark.parametrize("number", [b"1e400", b"-1e999", b"9" * 5000, b"9" * 400 + b".5"])
def test_a_number_beyond_what_can_be_held_is_refused_under_its_id(number: bytes) -> None:
    response = refused(b'{"jsonrpc":"2.0","id":4,"method":"x","params":{"n":' + number + b"}}")

    assert response["error"]["code"] == -32600
    assert "range" in response["error"]["message"]
    assert response["id"] == 4


def test_a_batch_keeps_its_messages_in_order_and_marks_what_is_none() -> None:
    message = decode(b'[{"jsonrpc":"2.0","id":1,"method":"ping"},5,{"jsonrpc":"2.0","method":"n"}]')

    assert isinstance(message, Batch)
    first, second, third = message.items
    assert first == Request(1, "ping", {})
    assert isinstance(second, Invalid)
    assert third == Notification("n", {})
    assert message.expects_reply


def test_a_batch_of_notifications_expects_no_reply() -> None:
    message = decode(b'[{"jsonrpc":"2.0","method":"n"}]')

    assert isinstance(message, Batch)
    assert not message.expects_reply


@pytest.mark.parametrize("length", [0, 51])
def test_an_empty_or_overlong_batch_is_refused(length: int) -> None:
    item = {"jsonrpc": "2.0", "method": "n"}

    assert refused(json.dumps([item] * length).encode())["error"]["code"] == -32600


def test_an_error_without_data_has_no_data_member() -> None:
    body = json.loads(encode_error("x", RpcError(-32603, "m")).body)

    assert body == {"jsonrpc": "2.0", "id": "x", "error": {"code": -32603, "message": "m"}}


def test_a_notification_without_parameters_has_no_params_member() -> None:
    body = json.loads(encode_notification("notifications/tools/list_changed"))

    wire_schema.check_notification(wire_schema.LEGACY, body)
    assert "params" not in body


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON_VALUES,
        "id": st.integers() | st.text() | JSON_VALUES,
        "method": st.text() | JSON_VALUES,
        "params": JSON_VALUES,
        "result": JSON_VALUES,
        "error": JSON_VALUES,
    },
)
BODIES = (
    st.binary(max_size=300)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | MESSAGES.map(lambda value: json.dumps(value).encode())
    | st.lists(MESSAGES, max_size=4).map(lambda value: json.dumps(value).encode())
)


@settings(deadline=None)
@given(BODIES)
def test_any_bytes_are_a_message_or_a_well_formed_error(body: bytes) -> None:
    try:
        outcome: object = decode(body)
    except InvalidMessageError as error:
        outcome = json.loads(encode_error(error.id, error).body)
    if isinstance(outcome, dict):
        wire_schema.check_response(wire_schema.LEGACY, outcome)
        wire_schema.check_response(wire_schema.MODERN, outcome)
        assert outcome["error"]["code"] in {-32700, -32600, -32602}
    else:
        assert isinstance(outcome, Request | Notification | ClientResponse | Batch)


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","method":"ping","id":1,"left out":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}',
        b'[{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}]',
    ],
)
def test_text_that_is_only_looked_over_is_utf8_too(body: bytes) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        decode(body)
    assert refused.value.code == -32700
