from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.transports.http_head import Head, Heads

PAIRS = [
    (b"host", b"127.0.0.1:3001"),
    (b"x-api-key", b"the-key"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"content-length", b"10"),
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"=?base64?SMOkdXNlcg==?="),
    (b"idempotency-key", b'"k\\"1"'),
]


def changed(name: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
    return [(each, value if each == name else before) for each, before in PAIRS]


def test_a_head_says_what_its_headers_say() -> None:
    head = Head(PAIRS)
    assert head.host == "127.0.0.1:3001"
    assert head.origin is head.session_id is head.repeated is None
    assert head.credentials == Credentials(api_key="the-key")
    assert (head.accept.json, head.accept.events, head.sends_json) == (True, False, True)
    assert (head.version, head.mirrored.method) == ("2026-07-28", "tools/call")
    assert (head.mirrored.name, head.idempotency_key) == ("Häuser", 'k"1')


def test_the_same_headers_have_one_head_and_others_another() -> None:
    heads = Heads()
    head = heads.of(PAIRS)
    assert heads.of([(bytes(bytearray(a)), bytes(bytearray(b))) for a, b in PAIRS]) is head
    for name, _ in PAIRS:
        other = heads.of(changed(name, b"other"))
        assert other is not head, name
        assert other.headers.get(name) == "other"
    assert heads.of([*PAIRS, PAIRS[1]]).repeated == "x-api-key"
    assert heads.of([*PAIRS, (b"x-api-key", b"")]).repeated == "x-api-key"
    assert heads.of(PAIRS[::-1]).credentials == head.credentials
    assert heads.of(PAIRS) is head


def test_few_heads_are_remembered_and_no_long_ones() -> None:
    heads = Heads()
    long = changed(b"mcp-method", b"x" * 5000)
    assert heads.of(long) is not heads.of(long)
    first = heads.of(PAIRS)
    for number in range(300):
        heads.of(changed(b"content-length", b"%d" % number))
        assert len(heads._known) <= 256
    again = heads.of(PAIRS)
    assert again is not first
    assert again.credentials == first.credentials


@pytest.mark.parametrize("make", [tuple, list])
def test_pairs_may_be_lists_as_some_servers_give_them(make: type) -> None:
    assert Heads().of([make(pair) for pair in PAIRS]).version == "2026-07-28"
