"""Valid messages, and deterministic damage to them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from kailash_mcp_prod.protocol import Batch, InvalidMessageError, Notification, Request, decode

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _rpc(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


_ECHO = {"name": "echo", "arguments": {"text": "ä\u2028🦊", "list": [1, 2.5, None, True]}}
_MESSAGES: list[Any] = [
    _rpc(1, "ping"),
    _rpc(2, "tools/list"),
    _rpc(3, "tools/list", _meta=_META),
    _rpc("four", "tools/call", **_ECHO),
    _rpc("five", "tools/call", **_ECHO, _meta={**_META, "progressToken": "p"}),
    _rpc(6, "server/discover", _meta=_META),
    _rpc(7, "resources/read", uri="sample://7", _meta=_META),
    _rpc(8, "resources/list", cursor="x", _meta=_META),
    _rpc(9, "prompts/get", name="greet", arguments={"whom": "you"}, _meta=_META),
    _rpc(10, "logging/setLevel", level="warning"),
    _rpc(11, "subscriptions/listen", notifications={"toolsListChanged": True}, _meta=_META),
    _rpc(
        12,
        "initialize",
        protocolVersion="2025-11-25",
        capabilities={},
        clientInfo={"name": "fuzz", "version": "1"},
    ),
    _rpc(
        13,
        "completion/complete",
        ref={"type": "ref/resource", "uri": "sample://{number}"},
        argument={"name": "number", "value": "1"},
        _meta=_META,
    ),
    _rpc(14, "tools/call", **_ECHO, _meta=_META, inputResponses={"a": {}}, requestState="sealed"),
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "nobody"}},
    {"jsonrpc": "2.0", "id": "server-1", "result": {"action": "accept"}},
    {"jsonrpc": "2.0", "id": "server-2", "error": {"code": -1, "message": "no"}},
    [_rpc(15, "ping"), {"jsonrpc": "2.0", "method": "notifications/initialized"}],
]
SEEDS = [json.dumps(each, ensure_ascii=False).encode() for each in _MESSAGES]

_TOKENS = (
    *(b"null", b"true", b"-0", b"1e999", b"NaN", b"Infinity", b"9" * 40, b"9" * 5000, b"1e-999"),
    *(b"{}", b"[]", b'""', b"[" * 80, b'{"a":' * 80, b"]" * 80, b'"' * 3, b"\\", b"\\u0000"),
    *(b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"\x00", b"\n", b"\r\n", b"/*", b",", b":", b"__proto__", b"%s%n", b"2.0", b"id", b"method"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**63, 2**64, 1.5, "", "x" * 10_000, [], {}, [[]], {"": None}),
    *("\u0000", "../../etc/passwd", {"$ref": "#"}, "-32600", "tools/call", ["2.0"]),
)


def damaged(count: int, seed: int) -> Iterator[bytes]:
    """Damaged messages, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.4:
            yield json.dumps(_retyped(json.loads(chance.choice(SEEDS)), chance)).encode()
        else:
            text = bytearray(chance.choice(SEEDS))
            for _ in range(chance.choice((1, 1, 2, 4))):
                _damage(text, chance)
            yield bytes(text)


def _damage(text: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(text) + 1)
    end = min(len(text), start + chance.choice((1, 2, 8, 64)))
    match chance.randrange(7):
        case 0 if start < len(text):
            text[start] ^= 1 << chance.randrange(8)
        case 1:
            text[start:start] = chance.randbytes(chance.choice((1, 3)))
        case 2:
            del text[start:end]
        case 3:
            text[start:start] = text[start:end] * chance.choice((1, 2, 50))
        case 4:
            del text[start:]
        case 5:
            other = chance.choice(SEEDS)
            text[start:] = other[chance.randrange(len(other)) :]
        case _:
            text[start:end] = chance.choice(_TOKENS)


def _retyped(value: Any, chance: random.Random) -> Any:
    """The message with one value, somewhere, replaced, removed or renamed."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        rest = {name: each for name, each in value.items() if name != key}
        match chance.randrange(8):
            case 0:
                return rest
            case 1:
                return {**rest, chance.choice((key.upper(), "", "jsonrpc", "_meta")): value[key]}
            case _:
                return {**value, key: _retyped(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        position = chance.randrange(len(value))
        return [*value[:position], _retyped(value[position], chance), *value[position + 1 :]]
    return chance.choice(_VALUES)


def replies_due(text: bytes) -> tuple[int, int]:
    """How many responses a message has to get, at least and at most."""
    try:
        message = decode(text)
    except InvalidMessageError:
        return 1, 1
    match message:
        case Request(method="subscriptions/listen"):
            return 0, 1
        case Notification(method="notifications/cancelled"):
            return -1, 0
        case Request() | Batch():
            return 1, 1
    return 0, 0


_INSIDE = re.compile(
    rb"Traceback|File \\?\"|\.py\b|msgspec|\w(?<!Rpc)Exception|<class|object at 0x"
)


def assert_tells_nothing(answer: bytes) -> None:
    """Assert that an answer has no text of the server's inside, and is no sign of a defect."""
    assert not _INSIDE.search(answer), answer[:2000]
    assert b"-32603" not in answer, answer[:2000]
    assert b"Internal" not in answer, answer[:2000]
