"""Words of questions and of tools, in the form in which they are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUN = re.compile(r"[^\W\d_]+|\d+")
# Identifiers such as `customerSince` and `ETIMAttribute` are several words.
_WORD_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_EVERYWHERE = (
    "a an and are as at be been by can could did do does for from had has have he her his i if in "
    "into is it its me my of on or our please she so than that the their them then there these "
    "they this those to was we were will with would you your"
)
# Written with a hyphen it is still one word.
_EMAIL = re.compile(r"\be-mail", re.IGNORECASE)
# `customer-nordbau` names a record.
_REFERENCE = re.compile(r"\b([a-z]{3,})-[a-z0-9]")
_STOP_WORDS = frozenset(_EVERYWHERE.split())
# As Oxford and America spell what the rest of the world ends in "ise".
_IZE = re.compile(r"iz(?=(?:e|es|ed|ing|ations?)$)")
# The longest first.
_NOUN_ENDINGS = (
    ("ification", "ify"),
    ("ically", "ic"),
    ("isation", "ise"),
    ("ition", "it"),
    ("ance", ""),
    ("ness", ""),
    ("tion", "t"),
    ("sion", "s"),
    ("ly", ""),
)
_VOWELS = frozenset("aeiouy")
_MAX_WORDS = 64


def words(text: str) -> Iterator[str]:
    """The stems of a text's words, without those that stand everywhere."""
    for run in _RUN.finditer(_EMAIL.sub("email", text)):
        for part in _WORD_BOUNDARY.split(run.group()):
            word = part.lower()
            if word not in _STOP_WORDS:
                yield stem(word)


def query_words(text: str) -> list[str]:
    """The stems of a question, each once, in order; at most 64."""
    return list(dict.fromkeys(words(text)))[:_MAX_WORDS]


def references(text: str) -> set[str]:
    """The stems that begin identifiers of records, such as `quote` of `quote-2026-0007`."""
    return {stem(each[1]) for each in _REFERENCE.finditer(_EMAIL.sub("email", text))}


def stem(word: str) -> str:
    """A word without the endings of plurals and verb forms, so that `companies` is `company`.

    Both sides of a comparison go through it, so it only has to be consistent, not a dictionary.
    """
    if len(word) < 4 or not word.isascii():
        return word
    word = _without_noun_ending(_without_plural(_IZE.sub("is", word)))
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) > 2 and _VOWELS & set(root):
            return _without_e(_undoubled(root))
    return _without_e(word)


def _without_plural(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_noun_ending(word: str) -> str:
    """`classification` is what one does to `classify`, and `translation` to `translate`."""
    for ending, verb in _NOUN_ENDINGS:
        root = word.removesuffix(ending)
        if root != word and len(root) > 3 and _VOWELS & set(root):
            return root + verb
    return word


def _undoubled(root: str) -> str:
    return root[:-1] if root[-1] == root[-2] and root[-1] not in "ls" else root


def _without_e(word: str) -> str:
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word
