from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.protocol.nesting import MAX_COLLECTIONS, nests_deeper_than

DEEP = b"[" * 65 + b"]" * 65


def test_nesting_up_to_the_limit_is_allowed() -> None:
    assert not nests_deeper_than(64, b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize("body", [DEEP, b'{"a":' * 65 + b"1" + b"}" * 65, b"[" * 100_000])
def test_nesting_beyond_the_limit_is_found(body: bytes) -> None:
    assert nests_deeper_than(64, body)


def test_many_shallow_brackets_are_allowed() -> None:
    assert not nests_deeper_than(64, b"[" + b"[{}]," * 1000 + b"1]")


@pytest.mark.parametrize("text", ["[" * 100, '"' + "[" * 100, "\\" + "{" * 100, '\\"[' * 100])
def test_brackets_inside_strings_do_not_count(text: str) -> None:
    assert not nests_deeper_than(64, json.dumps([text, {text: text}]).encode())


@pytest.mark.parametrize("text", ["\\", '"', '\\"', "a\\\\", "\n"])
def test_brackets_after_a_string_with_escapes_count(text: str) -> None:
    body = b"[" + json.dumps(text).encode() + b"," + DEEP + b"]"

    assert nests_deeper_than(64, body)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@settings(deadline=None)
@given(VALUES, st.integers(0, 6), st.booleans())
def test_the_answer_agrees_with_the_decoded_value(value: object, limit: int, escape: bool) -> None:
    body = json.dumps(value, ensure_ascii=escape).encode()

    assert nests_deeper_than(limit, body) == (depth_of(value) > limit)


def test_very_many_collections_count_as_too_deep_and_brackets_in_texts_do_not() -> None:
    assert nests_deeper_than(64, b"[" + b"[]," * MAX_COLLECTIONS + b"0]")
    assert not nests_deeper_than(64, b'["' + b"[" * (3 * MAX_COLLECTIONS) + b'"]')
