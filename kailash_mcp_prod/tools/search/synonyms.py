"""Words that mean the same: what people call an operation, and the things of a business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kailash_mcp_prod.tools.search.words import stem, words


class OperationWords(NamedTuple):
    """The stems of what people say when they mean an operation: what to do, and how."""

    verbs: tuple[str, ...]
    manner: tuple[str, ...]


_CREATE = (
    "create add new insert make register enter store save write record log submit put upload "
    "draft prepare open invite queue enqueue schedule report introduce start begin "
    "onboard"
)
_UPDATE = (
    "update change modify edit set alter correct fix mark assign rename adjust replace raise lower "
    "increase decrease extend move switch turn confirm approve reject cancel close resolve "
    "archive activate deactivate enable disable block flag link attach add give hand retry "
    "promote demote reassign transfer reschedule postpone reopen prolong shorten reset swap "
    "convert complete finish pause resume restart revise amend upgrade downgrade instead become now"
)
_DELETE = (
    "delete remove empty erase drop destroy discard withdraw purge clear clean wipe forget throw "
    "rid scrap dispose trash bin kill strike unregister"
)
_LIST = (
    "list find search show query filter which who whom whose what when where how is are all any "
    "browse look display see compare everyone everybody anyone anybody everything each exist "
    "overview"
)
_COUNT = "count how many much number total"
_READ = "read get show open view fetch retrieve display detail give what tell describe check pull"
_UPSERT = "upsert merge synchronise sync overwrite replace exist miss create update add change"
_FIGURES = "many much count number total sum average most least top large late new old first last"
_MANY = "many all every bulk batch several multiple mass import load once"


def _of(verbs: str, manner: str = "") -> OperationWords:
    return OperationWords(tuple(words(verbs)), tuple(words(manner)))


OPERATION_WORDS: Mapping[str, OperationWords] = {
    "create": _of(_CREATE),
    "read": _of(_READ),
    "update": _of(_UPDATE),
    "delete": _of(_DELETE),
    "list": _of(_LIST, _FIGURES),
    "count": _of(_COUNT),
    "upsert": _of(_UPSERT),
    "bulk_create": _of(_CREATE, _MANY),
    "bulk_update": _of(_UPDATE, _MANY),
    "bulk_delete": _of(_DELETE, _MANY),
    "bulk_upsert": _of(_UPSERT, _MANY),
}
"""By the name of an operation."""

_SAME_THINGS = (
    "company firm business enterprise organisation organization supplier vendor",
    "customer client buyer purchaser",
    "user person people colleague employee member staff account login",
    "quote offer quotation proposal estimate bid",
    "document file attachment upload paper",
    "product article item",
    "queue enqueue task job",
    "metric figure statistic kpi measure",
    "feedback judgement opinion rating comment remark",
    "history audit trail log",
    "cache remember",
    "attribute feature property characteristic",
    "classification classify class category",
    "accuracy accurate",
    "price cost amount money",
    "phone telephone",
    "email mail",
    "model schema entity table",
)


def _thesaurus() -> dict[str, tuple[str, ...]]:
    """The first word of each line is the usual one: it means all others, and each of them it."""
    found: dict[str, dict[str, None]] = {}
    for line in _SAME_THINGS:
        usual, *others = (stem(word) for word in line.split())
        for each in others:
            found.setdefault(each, {})[usual] = None
            found.setdefault(usual, {})[each] = None
    return {word: tuple(same) for word, same in found.items()}


SYNONYMS: Mapping[str, tuple[str, ...]] = _thesaurus()
"""For a stem the stems that mean about the same."""
