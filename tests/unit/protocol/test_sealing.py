"""Sealed state comes back only whole, in time and for what it was made for."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.protocol.sealing import BadSealError, Seal

STATE = {"answer": {"action": "accept"}}


def test_what_was_sealed_can_be_opened() -> None:
    seal = Seal()
    assert seal.open(seal.close(STATE, b"call"), b"call") == STATE


def test_replicas_with_one_secret_understand_each_other() -> None:
    secret = b"s" * 32
    assert Seal(secret).open(Seal(secret).close(STATE, b"call"), b"call") == STATE


@pytest.mark.parametrize("text", ["", "x", "ä", "AAAA", "=", "A" * 43])
def test_a_forged_text_is_refused(text: str) -> None:
    with pytest.raises(BadSealError):
        Seal().open(text, b"call")


def test_every_change_of_a_character_is_noticed() -> None:
    seal = Seal()
    text = seal.close(STATE, b"call")
    for place in range(len(text) - 1):
        other = "A" if text[place] != "A" else "B"
        with pytest.raises(BadSealError):
            seal.open(text[:place] + other + text[place + 1 :], b"call")


def test_state_of_something_else_or_of_another_secret_is_refused() -> None:
    seal = Seal()
    for opener, binding in ((seal, b"other"), (Seal(), b"call")):
        with pytest.raises(BadSealError):
            opener.open(seal.close(STATE, b"call"), binding)


def test_state_ends() -> None:
    now = 1000.0
    seal = Seal(seconds=600, clock=lambda: now)
    text = seal.close(STATE, b"call")
    now += 599
    assert seal.open(text, b"call") == STATE
    now += 1
    with pytest.raises(BadSealError):
        seal.open(text, b"call")
