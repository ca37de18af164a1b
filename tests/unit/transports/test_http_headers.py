from __future__ import annotations

import base64

import pytest

from kailash_mcp_prod.transports.http_headers import (
    Accept,
    Headers,
    decode_value,
    is_json,
    mirrored,
)


@pytest.mark.parametrize(
    ("header", "json", "events"),
    [
        (None, True, True),
        ("", True, True),
        ("*/*", True, True),
        ("application/json, text/event-stream", True, True),
        ("Application/JSON;q=0.5", True, False),
        ("application/*", True, False),
        ("text/event-stream", False, True),
        ("text/*", False, True),
        ("text/html", False, False),
        ("application/json;q=0, text/event-stream;q=0.0", False, False),
    ],
)
def test_accept_tells_which_forms_the_client_takes(
    header: str | None, json: bool, events: bool
) -> None:
    assert Accept.parse(header) == Accept(json=json, events=events)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'],
)
def test_json_in_utf8_is_json(content_type: str) -> None:
    assert is_json(content_type)


@pytest.mark.parametrize(
    "content_type", [None, "", "text/json", "application/jsonp", "application/json; charset=utf-16"]
)
def test_anything_else_is_not(content_type: str | None) -> None:
    assert not is_json(content_type)


def encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize("value", ["plain", "", "=?base64?open", "?="])
def test_a_plain_value_stays_as_it_is(value: str) -> None:
    assert decode_value(value) == value


@pytest.mark.parametrize("text", ["Hello, 世界", " padded ", "line1\nline2", "=?base64?literal?="])
def test_an_encoded_value_is_decoded(text: str) -> None:
    assert decode_value(encoded(text)) == text


@pytest.mark.parametrize("value", ["=?base64?!?=", "=?base64?/w==?=", "=?base64?abc?="])
def test_a_malformed_value_is_none(value: str) -> None:
    assert decode_value(value) is None


def test_header_values_are_trimmed() -> None:
    headers = Headers([(b"mcp-method", b" tools/list ")])

    assert headers.get(b"mcp-method") == "tools/list"
    assert headers.repeats(b"mcp-method") is None


def test_a_repeated_or_malformed_mirror_is_named() -> None:
    repeated = Headers([(b"mcp-method", b"a"), (b"mcp-method", b"a")])
    malformed = Headers([(b"mcp-name", b"=?base64?!?=")])

    assert mirrored(repeated).malformed == "mcp-method"
    assert mirrored(malformed).malformed == "mcp-name"
