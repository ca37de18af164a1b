from __future__ import annotations

import pytest

from kailash_mcp_prod.transports import bridge_http
from kailash_mcp_prod.transports.bridge_http import (
    Event,
    EventParser,
    UnreachableError,
    header_value,
)
from kailash_mcp_prod.transports.http_headers import decode_value

STREAM = (
    b": open\n\nid: 1\nretry: 1500\ndata:\n\ndata: {\ndata: }\r\n\r\nevent: message\nid: 2\n"
    b'data: {"a":1}\n\nignored: x\n\ndata: {"cut'
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_found_however_their_bytes_arrive(size: int) -> None:
    parser = EventParser()
    chunks = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    events = [event for chunk in chunks for event in parser.feed(chunk)]

    assert events == [Event(b"", "1"), Event(b"{\n}", None), Event(b'{"a":1}', "2")]
    assert parser.retry_seconds == 1.5


def test_an_event_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_http, "MAX_MESSAGE_BYTES", 100)

    for piece in (b"data: aaaaaaaaa\n", b"aaaaaaaaaa"):
        parser = EventParser()
        for _ in range(5):
            assert list(parser.feed(piece)) == []
        with pytest.raises(UnreachableError, match="too long"):
            list(parser.feed(piece * 8))


@pytest.mark.parametrize(
    "text", ["Company_list", "dataflow://models/ü", " a", "a\r\nX: y", "=?base64?a?=", "", "\ud800"]
)
def test_a_header_value_says_the_same_and_is_harmless(text: str) -> None:
    value = header_value(text)

    assert value.isascii()
    assert value.isprintable()
    assert decode_value(value) == text.encode("utf-8", "replace").decode()
