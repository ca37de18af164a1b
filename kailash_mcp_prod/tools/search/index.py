"""An index of tools by what they are about and by what they do.

A question names a thing and something to do with it, and each record tool is one such pair. So two
indexes are asked: one of the things, which are models and the tools that belong to none, and one
of the operations. A tool's score is the sum of both.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from kailash_mcp_prod.tools.search.bm25 import Bm25
from kailash_mcp_prod.tools.search.synonyms import OPERATION_WORDS, SYNONYMS, OperationWords
from kailash_mcp_prod.tools.search.words import query_words, references, words
from kailash_mcp_prod.tools.spec import ToolSpec

_SYNONYM_SHARE = 0.5
# "Open the record of Acme" is not about the open invoices of a customer.
_VERB_SHARE = 0.5
_OPERATION_SHARE = 1.3
# "What user-jonas wrote" is about what he wrote; his identifier only says whose.
_REFERENCE_SHARE = 0.6
# Who wants another model finds it among the first, behind the likeliest operations of the best.
_REPETITION = 0.15
# What is asked for comes before what it has to do with: "the quotes of this customer".
_FADING = 0.1

# A name is weighed among names: that many models have a company makes Company no weaker a name.
_NAME_WEIGHTS = {"name": 4.0}
_TEXT_WEIGHTS = {
    "description": 2.0,
    "field names": 1.5,
    "values": 1.0,
    "field descriptions": 0.8,
}
_FIELDS = (*_NAME_WEIGHTS, *_TEXT_WEIGHTS)
_OPERATION_WEIGHTS = {"verbs": 1.0, "manner": 1.0}
# Without a word for it, somebody who names a thing wants to see it, and rather one than many.
_LIKELIHOOD = {"list": 0.5, "read": 0.4, "create": 0.3, "update": 0.4, "delete": 0.25}

_NO_WORDS = OperationWords((), ())
_VERBS = frozenset(word for said in OPERATION_WORDS.values() for word in said.verbs)


class ToolIndex:
    """Finds tools by a question, best first.

    Args:
        tools: The tools, in the order that decides between equals.

    Example:
        `ToolIndex(registry).search("which customers are in Kiel", limit=5)`
    """

    def __init__(self, tools: Iterable[ToolSpec]) -> None:
        found = list(tools)
        things = _things(found)
        operations = sorted({tool.operation for tool in found if tool.operation is not None})
        self._names = Bm25(list(things.values()), _NAME_WEIGHTS)
        self._texts = Bm25(list(things.values()), _TEXT_WEIGHTS)
        self._operations = Bm25([_said_for(each) for each in operations], _OPERATION_WEIGHTS)
        thing_at = {name: position for position, name in enumerate(things)}
        operation_at = {name: position for position, name in enumerate(operations)}
        self._tools = [
            (
                tool.name,
                thing_at[_thing_of(tool)],
                operation_at.get(tool.operation or "", -1),
                _LIKELIHOOD.get(tool.operation or "", 0.0),
            )
            for tool in found
        ]

    def search(
        self, question: str, limit: int, among: Container[str] | None = None
    ) -> list[tuple[str, float]]:
        """The names of the best tools and their scores, best first.

        Args:
            question: What somebody wants to do, in their words.
            limit: How many tools to return at most.
            among: The names of the tools that count; all when absent.
        """
        asked = query_words(question)
        meant = _meant(asked, references(question))
        things = self._texts.scores(meant)
        for thing, score in self._names.scores(meant).items():
            things[thing] = things.get(thing, 0.0) + score
        operations = self._operations.scores(dict.fromkeys(asked, _OPERATION_SHARE))
        ranked = [
            (name, thing, things[thing] + operations.get(operation, 0.0) + likelihood)
            for name, thing, operation, likelihood in self._tools
            if thing in things and (among is None or name in among)
        ]
        # Stable, so equals keep the order of the tools.
        ranked.sort(key=lambda each: -each[2])
        return _varied(ranked)[:limit]


def _varied(ranked: list[tuple[str, int, float]]) -> list[tuple[str, float]]:
    """The tools with what is left of their scores behind others of the same thing."""
    met: dict[int, int] = {}
    varied = []
    for name, thing, score in ranked:
        before = met.get(thing, 0)
        met[thing] = before + 1
        varied.append((name, score / (1 + _REPETITION * before)))
    varied.sort(key=lambda each: -each[1])
    return varied


def _meant(asked: list[str], referred: Container[str]) -> dict[str, float]:
    """The words of a question and those that mean the same, with what they count."""
    shares = {
        word: (_VERB_SHARE if word in _VERBS else 1.0)
        * (_REFERENCE_SHARE if word in referred else 1.0)
        / (1 + _FADING * position)
        for position, word in enumerate(asked)
    }
    for word in asked:
        for other in SYNONYMS.get(word, ()):
            shares[other] = max(shares.get(other, 0.0), _SYNONYM_SHARE * shares[word])
    return shares


def _thing_of(tool: ToolSpec) -> str:
    # A colon is in no name of a tool, so a model can't be taken for one.
    return f"model:{tool.group}" if tool.operation is not None else tool.name


def _said_for(operation: str) -> dict[str, list[str]]:
    said = OPERATION_WORDS.get(operation, _NO_WORDS)
    return {"verbs": list(said.verbs), "manner": list(said.manner)}


def _things(tools: list[ToolSpec]) -> dict[str, dict[str, list[str]]]:
    """The words of each model and of each other tool, by field."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for tool in tools:
        said = found.setdefault(_thing_of(tool), {field: {} for field in _FIELDS})
        said["name"] |= dict.fromkeys(words(tool.group if tool.operation else tool.name))
        said["description"] |= dict.fromkeys(words(tool.description.partition("\n")[0]))
        _gather(tool.input_schema, said)
    return {
        thing: {field: list(each) for field, each in said.items()} for thing, said in found.items()
    }


def _gather(schema: Any, said: dict[str, dict[str, None]]) -> None:
    if not isinstance(schema, Mapping):
        return
    for name, member in schema.get("properties", {}).items():
        said["field names"] |= dict.fromkeys(words(name))
        if isinstance(member, Mapping):
            said["field descriptions"] |= dict.fromkeys(words(str(member.get("description", ""))))
            for value in member.get("enum", ()):
                if isinstance(value, str):
                    said["values"] |= dict.fromkeys(words(value))
        _gather(member, said)
    _gather(schema.get("items"), said)
    for option in schema.get("anyOf", ()):
        _gather(option, said)
