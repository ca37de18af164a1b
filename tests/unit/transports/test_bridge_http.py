from __future__ import annotations

import time

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


@pytest.mark.parametrize("piece", [b"data:\n", b"id: 7", b": comment"])
def test_lines_without_data_are_bounded_too(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    monkeypatch.setattr(bridge_http, "MAX_MESSAGE_BYTES", 100)
    parser = EventParser()
    for _ in range(100 // len(piece.removeprefix(b"data:"))):
        list(parser.feed(piece))

    with pytest.raises(UnreachableError, match="too long"):
        list(parser.feed(piece))


def test_a_long_line_in_small_pieces_takes_a_time_in_proportion() -> None:
    parser = EventParser()
    started = time.process_time()
    for _ in range(16 * 1024):
        list(parser.feed(b"x" * 1024))

    # Were each piece joined with all before it, it would be some ten seconds.
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"0", 0), (b"0001500", 1.5), (b"60001", 60), (b"9" * 5000, 60), (b"0" * 5000, 0)],
)
def test_the_wait_that_a_server_asks_for_is_bounded(text: bytes, seconds: float) -> None:
    parser = EventParser()
    list(parser.feed(b"retry: " + text + b"\n"))

    assert parser.retry_seconds == seconds


@pytest.mark.parametrize("text", ["-1", "1.5", "²", ""])
def test_a_wait_that_is_no_number_is_passed_over(text: str) -> None:
    parser = EventParser()
    list(parser.feed(f"retry: {text}\n".encode()))

    assert parser.retry_seconds is None


def test_the_id_of_an_event_goes_back_as_the_bytes_that_came() -> None:
    [event] = EventParser().feed("id: ü→\ndata: {}\n\n".encode())

    assert event.id is not None
    assert event.id.encode("latin-1") == "ü→".encode()


@pytest.mark.parametrize(
    "text", ["Company_list", "dataflow://models/ü", " a", "a\r\nX: y", "=?base64?a?=", "", "\ud800"]
)
def test_a_header_value_says_the_same_and_is_harmless(text: str) -> None:
    value = header_value(text)

    assert value.isascii()
    assert value.isprintable()
    assert decode_value(value) == text.encode("utf-8", "replace").decode()
