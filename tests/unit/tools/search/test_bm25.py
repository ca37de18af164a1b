from __future__ import annotations

import pytest

from kailash_mcp_prod.tools.search.bm25 import Bm25

DOCUMENTS = [
    {"name": ["quote"], "text": ["offer", "customer"]},
    {"name": ["customer"], "text": ["business", "company"]},
    {"name": ["company"], "text": ["business", "supplier", "address", "city", "country"]},
]
INDEX = Bm25(DOCUMENTS, {"name": 3.0, "text": 1.0})


def best(*asked: str) -> int:
    scores = INDEX.scores(dict.fromkeys(asked, 1.0))
    return max(scores, key=lambda position: scores[position])


def test_a_word_in_a_weightier_field_counts_for_more() -> None:
    assert best("customer") == 1
    assert best("company") == 2


def test_only_documents_with_a_word_are_scored() -> None:
    assert INDEX.scores({"supplier": 1.0}).keys() == {2}
    assert INDEX.scores({"nothing": 1.0}) == {}


def test_a_rare_word_counts_for_more_than_a_common_one() -> None:
    [offer] = INDEX.scores({"offer": 1.0}).values()

    assert offer > INDEX.scores({"business": 1.0})[1]


def test_a_word_in_a_short_field_counts_for_more_than_in_a_long_one() -> None:
    scores = INDEX.scores({"business": 1.0})

    assert scores[1] > scores[2]


def test_what_a_word_counts_is_what_was_asked() -> None:
    [half] = INDEX.scores({"supplier": 0.5}).values()
    [full] = INDEX.scores({"supplier": 1.0}).values()

    assert half == pytest.approx(full / 2)


def test_no_documents_have_no_scores() -> None:
    assert Bm25([], {"name": 1.0}).scores({"a": 1.0}) == {}
