"""Values of every supported type: those that must come back unchanged, and those to refuse."""

from __future__ import annotations

import base64
import math
from typing import Any

NAN, INFINITY = math.nan, math.inf
LONE_SURROGATE = "\ud800"

TEXTS: list[str] = [
    "select from -- x",
    "drop table users; delete from t",
    "'; DROP TABLE trap_samples; --",
    "' OR 1=1 --",
    "/* comment */ union select 1",
    "exec('x') or xp_cmdshell",
    "${x} ${data} {{ x }} #{x}",
    "%s %d %(a)s :name $1 ?",
    "back\\slash\\",
    "\"double\" 'single' `back`",
    "null",
    "true",
    "123",
    "007",
    "1e5",
    '{"a": 1}',
    "[1, 2]",
    "2026-03-01T09:30:00+02:00",
    "2026-03-01",
    "",
    " spaces ",
    "line\nbreak\ttab\r\n",
    "ünïcödé 漢字 🎉 \u202e\ufeff",
    "\x01\x7f\x1b[31m",
    "password=hunter2 token: abc https://user:secret@host/x",
    "aGVsbG8=",
    "<script>alert(1)</script> &amp;",
    "x" * 3_000,
]

ALL_BYTES = base64.b64encode(bytes(range(256))).decode()

# Each value as it is given and as it must be returned.
GOOD: dict[str, list[tuple[Any, Any]]] = {
    "text": [(text, text) for text in TEXTS],
    "whole": [(n, n) for n in (0, -1, 2**31 - 1, -(2**31), 42)],
    "real": [(0.1, 0.1), (0.0, 0.0), (-1.5, -1.5), (5, 5.0), (1e30, 1e30), (1e-30, 1e-30)],
    "flag": [(True, True), (False, False)],
    "moment": [
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00+00:00"),
        ("2026-03-01T01:30:00+05:30", "2026-02-28T20:00:00+00:00"),
        ("2025-12-31T18:00:00-08:00", "2026-01-01T02:00:00+00:00"),
        ("2026-03-01T09:30:00.123456+00:00", "2026-03-01T09:30:00.123456+00:00"),
        ("2026-03-01T09:30Z", "2026-03-01T09:30:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
        ("2024-02-29T23:59:59+14:00", "2024-02-29T09:59:59+00:00"),
    ],
    "day": [(day, day) for day in ("2024-02-29", "0001-01-01", "9999-12-31", "2026-03-01")],
    "amount": [
        ("1.50", "1.50"),
        ("0", "0"),
        ("-0.01", "-0.01"),
        (5, "5"),
        (0.1, "0.1"),
        ("1E+3", "1000"),
        ("1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456789"),
        (".5", "0.5"),
    ],
    "token": [
        ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12"),
        ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
    ],
    "colour": [(colour, colour) for colour in ("red", "green", "blue")],
    "rank": [(rank, rank) for rank in (1, 9, 10)],
    "mode": [(mode, mode) for mode in ("on", "off")],
    "free": [
        *(({"q": text, text: [text]}, {"q": text, text: [text]}) for text in TEXTS),
        ({}, {}),
        ({"a": [1, 1.5, None, True, {"b": []}]}, {"a": [1, 1.5, None, True, {"b": []}]}),
        ({"n": 2**63 - 1, "m": -(2**63) + 1}, {"n": 2**63 - 1, "m": -(2**63) + 1}),
        ({"big": 1e300, "small": 1e-300}, {"big": 1e300, "small": 1e-300}),
        ({"$gt": 1, "a.b": 2, "": 3, "id": 4}, {"$gt": 1, "a.b": 2, "": 3, "id": 4}),
    ],
    "things": [
        ([], []),
        (TEXTS, TEXTS),
        ([1, [2, [3, {"x": None}]], "4"], [1, [2, [3, {"x": None}]], "4"]),
        ([0.1, 1e20, -5], [0.1, 1e20, -5]),
    ],
    "words": [([], []), (TEXTS, TEXTS), (["1", "null", "[]"], ["1", "null", "[]"])],
    "amounts": [([], []), (["1.50", 2, 0.1], ["1.50", "2", "0.1"])],
    "anything": [
        ({}, {}),
        ({"deep": {"er": TEXTS}}, {"deep": {"er": TEXTS}}),
        ({"null": None, "flag": False}, {"null": None, "flag": False}),
    ],
    "tallies": [({}, {}), ({"a": 1, "select": -2}, {"a": 1, "select": -2})],
    "blob": [("", ""), (ALL_BYTES, ALL_BYTES), ("AA==", "AA==")],
}


def nested(depth: int) -> list[Any]:
    """Lists in each other, `depth` of them."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def at_the_field(*values: Any) -> list[tuple[Any, str]]:
    """Values whose fault is named by the field itself."""
    return [(value, "") for value in values]


# Each value to refuse, and where below the field the fault is.
BAD: dict[str, list[tuple[Any, str]]] = {
    "text": at_the_field(5, 1.5, True, [], {}, "a\x00b", LONE_SURROGATE, "x" * (2**20 + 1)),
    "whole": at_the_field(
        "5", 1.5, 5.0, True, 2**31, -(2**31) - 1, 10**30, NAN, INFINITY, [], {}, ""
    ),
    "real": at_the_field("1.5", True, NAN, INFINITY, -INFINITY, 1e39, -1e39, 10**400, [], {}),
    "flag": at_the_field("true", "false", 1, 0, 2, 1.0, [], ""),
    "moment": at_the_field(
        "2026-03-01",
        "2026-03-01T09:30:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-03-01T25:00:00Z",
        "2026-03-01T09:30:60Z",
        "2026-03-01T09:30:00+25:00",
        "2026-03-01X09:30:00Z",
        " 2026-03-01T09:30:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "yesterday",
        "",
        1_700_000_000,
        True,
        [],
    ),
    "day": at_the_field(
        "2026-13-01",
        "2026-02-30",
        "2025-02-29",
        "20260301",
        "2026-W09-1",
        "2026-3-1",
        "2026-03-01T00:00:00Z",
        "0000-01-01",
        "",
        20260301,
        True,
    ),
    "amount": at_the_field(
        "abc",
        "",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        NAN,
        INFINITY,
        True,
        "1e400",
        "1e-400",
        "1" * 39,
        10**39,
        0.12345678901234567,
        "1_000",
        " 1",
        "\uff11",
        "1,5",
        "1; drop table x",
        [],
        {},
    ),
    "token": at_the_field("abc", "", "g" * 32, 5, int("1" * 32), True, [], {}, "a" * 31),
    "colour": at_the_field("purple", "RED", "Colour.RED", "", " red", 5, True, []),
    "rank": at_the_field(2, "10", 10.0, True, "HIGH", [], {}),
    "mode": at_the_field("ON", "", True, 1, ["on"]),
    "free": at_the_field(
        [],
        "x",
        "{}",
        5,
        True,
        {"a": NAN},
        {"a": {"b": [INFINITY]}},
        {"a": "\x00"},
        {"\x00": 1},
        {"a": 2**63},
        {"a": LONE_SURROGATE},
        {LONE_SURROGATE: 1},
        {"a": nested(33)},
    ),
    "things": at_the_field({}, "x", "[]", 5, [NAN], ["\x00"], [10**30], nested(33)),
    "words": [
        ({}, ""),
        ("abc", ""),
        ([1], "[0]"),
        (["a", None], "[1]"),
        (["a", ["b"]], "[1]"),
        (["a", "b\x00"], "[1]"),
        ([LONE_SURROGATE], "[0]"),
    ],
    "amounts": [
        ({}, ""),
        (["x"], "[0]"),
        (["1", NAN], "[1]"),
        ([True], "[0]"),
        ([None], "[0]"),
        (["Infinity"], "[0]"),
    ],
    "anything": [([], ""), ("x", ""), ({"a": NAN}, ""), ({"a": ["\x00"]}, ""), ({"\x00": 1}, "")],
    "tallies": [
        ([], ""),
        ({"a": "x"}, ".a"),
        ({"a": 1.5}, ".a"),
        ({"a": True}, ".a"),
        ({"a": None}, ".a"),
        ({"a": 1, "b": 2**31}, ".b"),
        ({"\x00": 1}, ""),
    ],
    "blob": at_the_field("not base64!", "YQ", "YQ==\n", "ä", 5, True, [], {}),
}

BASE: dict[str, Any] = {name: values[0][0] for name, values in GOOD.items()}


def good_rows() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Whole records as given and as returned, that together hold every good value."""
    longest = max(len(values) for values in GOOD.values())
    pairs = [
        {name: values[position % len(values)] for name, values in GOOD.items()}
        for position in range(longest)
    ]
    return [
        (
            {name: given for name, (given, _) in row.items()},
            {name: returned for name, (_, returned) in row.items()},
        )
        for row in pairs
    ]
