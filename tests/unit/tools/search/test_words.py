from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.tools.search.words import query_words, references, stem, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("company", "companies"),
        ("customer", "customers"),
        ("class", "classes"),
        ("address", "addresses"),
        ("delete", "deleting"),
        ("delete", "deleted"),
        ("create", "created"),
        ("drop", "dropping"),
        ("rule", "rules"),
        ("process", "processed"),
        ("tax", "taxes"),
        ("price", "priced"),
        ("classify", "classification"),
        ("translate", "translation"),
        ("correct", "correction"),
        ("accept", "acceptance"),
        ("synchronise", "synchronized"),
        ("automatic", "automatically"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other"), [("status", "state"), ("user", "use"), ("list", "listen"), ("is", "i")]
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ETIMAttribute", ["etim", "attribut"]),
        ("DocumentProcessingQueue_bulk_create", ["document", "process", "queu", "bulk", "creat"]),
        ("customerSince", ["customer", "sinc"]),
        ("sha256", ["sha", "256"]),
        ("E-mail", ["email"]),
        ("Prüfer", ["prüfer"]),
        ("which of the quotes", ["which", "quot"]),
        ("", []),
        ("?! --", []),
    ],
)
def test_text_and_identifiers_become_stems(text: str, found: list[str]) -> None:
    assert list(words(text)) == found


def test_a_question_counts_each_word_once_and_not_too_many() -> None:
    assert query_words("quote quotes QUOTE") == ["quot"]
    assert len(query_words(" ".join(f"w{chr(97 + n % 26)}{n}" for n in range(10_000)))) <= 64


def test_an_identifier_refers_to_a_record() -> None:
    assert references("What did user-jonas add to quote-2026-0007 by e-mail?") == {"user", "quot"}
    assert references("a re-order of 2026-01-01") == set()


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    for word in words(text):
        assert word
        assert "_" not in word
