"""BM25 over documents of several weighted fields (BM25F), for a few hundred short documents."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

_SATURATION = 1.2  # k1
_LENGTH_SHARE = 0.5  # b

Document = Mapping[str, Sequence[str]]
"""The words of a document by field."""


class Bm25:
    """Scores documents by the words of a question.

    What a word adds to the score of a document is worked out once; a search only adds up.

    Args:
        documents: The documents, all with the same fields.
        weights: What an occurrence of a word counts in each field.
    """

    def __init__(self, documents: Sequence[Document], weights: Mapping[str, float]) -> None:
        self._postings = _postings([_frequencies(documents, each, weights) for each in documents])

    def scores(self, asked: Mapping[str, float]) -> dict[int, float]:
        """The scores of the documents that have any of the words, by their position.

        Args:
            asked: The words and what each counts.
        """
        found: defaultdict[int, float] = defaultdict(float)
        for word, share in asked.items():
            for position, score in self._postings.get(word, ()):
                found[position] += share * score
        return found


def _frequencies(
    documents: Sequence[Document], document: Document, weights: Mapping[str, float]
) -> dict[str, float]:
    """How often the words occur, by the weight and the length of the fields."""
    found: defaultdict[str, float] = defaultdict(float)
    for field, weight in weights.items():
        average = sum(len(each[field]) for each in documents) / len(documents)
        if not document[field]:
            continue
        share = weight / (1 - _LENGTH_SHARE + _LENGTH_SHARE * len(document[field]) / average)
        for word in document[field]:
            found[word] += share
    return found


def _postings(frequencies: list[dict[str, float]]) -> dict[str, list[tuple[int, float]]]:
    holders: defaultdict[str, int] = defaultdict(int)
    for each in frequencies:
        for word in each:
            holders[word] += 1
    postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for position, each in enumerate(frequencies):
        for word, frequency in each.items():
            rarity = math.log(1 + (len(frequencies) - holders[word] + 0.5) / (holders[word] + 0.5))
            score = rarity * frequency * (_SATURATION + 1) / (frequency + _SATURATION)
            postings[word].append((position, score))
    return dict(postings)
