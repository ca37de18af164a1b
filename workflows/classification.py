"""Product classification: what is known already, then rules, then a model where there is one.

The variable `CLASSIFICATION_MODEL` names an async function as `module:function`; it gets the text
of the product and the ETIM release, and returns `{"etim_class": …, "confidence": …}` or `None`.
Without it no model is asked.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kailash_mcp_prod import ToolCalls
from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError
from models.constraints import DEFAULT_ETIM_RELEASE

MODEL_VARIABLE: Final = "CLASSIFICATION_MODEL"
_ETIM_CLASS: Final = re.compile(r"EC[0-9]{6}")
_REVIEW_BELOW: Final = 0.75
_CACHE_DAYS: Final = 30
_LONGEST_TEXT: Final = 4000
_WORD: Final = re.compile(r"\w+")


async def classify(
    call: ToolCalls,
    *,
    product_code: str,
    product_name: str,
    manufacturer: str,
    product_description: str | None = None,
    company_id: str | None = None,
) -> dict[str, Any]:
    """Finds the class of a product and keeps it with its history.

    Returns:
        `classified`, and with it the `classification` and what it was found by; without, that a
        person has to look.
    """
    same = {
        "manufacturer": manufacturer,
        "product_code": product_code,
        "etim_release": DEFAULT_ETIM_RELEASE,
    }
    known = await _first(call, "known", "ProductClassification_list", same)
    if known is not None and known["status"] == "confirmed":
        return {"classified": True, "found_by": "history", "classification": known}
    text = product_text(product_name, product_description, manufacturer)
    found = await _find(call, text, manufacturer)
    if found is None:
        return {"classified": False, "needs_review": True, "classification": known}
    data = {
        **same,
        "product_name": product_name,
        "product_description": product_description,
        "company_id": company_id,
        "etim_class": found["etim_class"],
        "confidence": found["confidence"],
        "classification_method": found["method"],
        "status": "pending",
        "needs_review": found["confidence"] < _REVIEW_BELOW,
        "classified_at": _now().isoformat(),
    }
    kept = await _keep(call, known, data, found)
    if found["method"] != "cache":
        await _remember(call, text, found)
    return {"classified": True, "found_by": found["method"], "classification": kept}


async def judge(
    call: ToolCalls,
    *,
    classification_id: str,
    submitted_by_id: str,
    verdict: str,
    suggested_class: str | None = None,
    remarks: str | None = None,
) -> dict[str, Any]:
    """Keeps a person's judgement of a classification and acts on it.

    Raises:
        ConflictError: The user has judged it, or somebody else has changed it meanwhile.
        InvalidArgumentsError: The suggested class is none.
    """
    if suggested_class is not None and not _ETIM_CLASS.fullmatch(suggested_class):
        raise InvalidArgumentsError(
            "suggested_class: use EC and six digits.", field="suggested_class"
        )
    before = await call("read", "ProductClassification_read", {"id": classification_id})
    judgement = {
        "classification_id": classification_id,
        "submitted_by_id": submitted_by_id,
        "verdict": verdict,
        "suggested_class": suggested_class,
        "remarks": remarks,
    }
    feedback = await call(
        "feedback",
        "ClassificationFeedback_create",
        {"data": {key: each for key, each in judgement.items() if each is not None}},
    )
    change = _change_of(before, verdict, suggested_class)
    if change is None:
        return {"feedback": feedback, "classification": before}
    kind, data = change
    after = await call(
        "change",
        "ProductClassification_update",
        {
            "id": classification_id,
            "data": {**data, "needs_review": False, "reviewed_by_id": submitted_by_id},
            "expected": {"etim_class": before["etim_class"], "status": before["status"]},
        },
    )
    await call(
        "history",
        "ClassificationHistory_create",
        {
            "data": {
                "classification_id": classification_id,
                "change_type": kind,
                "previous_class": before["etim_class"],
                "new_class": after["etim_class"],
                "previous_confidence": before["confidence"],
                "new_confidence": after["confidence"],
                "reason": remarks or f"Judged {verdict}.",
                "changed_by_id": submitted_by_id,
                "changed_at": _now().isoformat(),
            }
        },
    )
    if kind != "confirmed":
        text = product_text(
            before["product_name"], before["product_description"], before["manufacturer"]
        )
        # The remembered answer was wrong.
        await call(
            "forget", "ClassificationCache_bulk_delete", {"filter": {"cache_key": cache_key(text)}}
        )
    return {"feedback": feedback, "classification": after}


def product_text(name: str, description: str | None, manufacturer: str) -> str:
    """The text that rules and models look at."""
    return " ".join(each for each in (name, description, manufacturer) if each)[:_LONGEST_TEXT]


def cache_key(text: str, release: str = DEFAULT_ETIM_RELEASE) -> str:
    """The key of a text, whatever its case and spaces."""
    normalised = " ".join(text.casefold().split())
    return hashlib.sha256(f"{normalised}\n{release}".encode()).hexdigest()


def first_match(
    rules: Iterable[Mapping[str, Any]], text: str, manufacturer: str, today: str
) -> Mapping[str, Any] | None:
    """The first rule, by priority, that matches a product on a day."""
    words = {each.casefold() for each in _WORD.findall(text)}
    folded = text.casefold()
    for rule in sorted(rules, key=lambda each: (each["priority"], each["id"])):
        if (rule["valid_from"] or today) > today or (rule["valid_until"] or today) < today:
            continue
        if any(_occurs(each, words, folded) for each in rule["excluded_keywords"] or ()):
            continue
        if _matches(rule, words, text, manufacturer):
            return rule
    return None


def _matches(rule: Mapping[str, Any], words: set[str], text: str, manufacturer: str) -> bool:
    if rule["match_type"] == "manufacturer":
        return bool(rule["manufacturer"]) and (
            rule["manufacturer"].casefold() == manufacturer.casefold()
        )
    if rule["match_type"] == "pattern":
        try:
            return bool(rule["match_pattern"]) and (
                re.search(rule["match_pattern"], text, re.IGNORECASE) is not None
            )
        except re.error:
            return False
    return any(_occurs(each, words, text.casefold()) for each in rule["keywords"] or ())


def _occurs(keyword: str, words: set[str], folded: str) -> bool:
    wanted = keyword.casefold()
    return wanted in words if _WORD.fullmatch(wanted) else wanted in folded


async def _find(call: ToolCalls, text: str, manufacturer: str) -> dict[str, Any] | None:
    now = _now()
    cached = await _first(
        call,
        "cached",
        "ClassificationCache_list",
        {"cache_key": cache_key(text), "expires_at": {"$gt": now.isoformat()}},
    )
    if cached is not None:
        hit = {"hit_count": cached["hit_count"] + 1, "last_hit_at": now.isoformat()}
        await call("hit", "ClassificationCache_update", {"id": cached["id"], "data": hit})
        return {
            "method": "cache",
            "etim_class": cached["etim_class"],
            "confidence": cached["confidence"],
        }
    rules = await call(
        "rules",
        "ClassificationRule_list",
        {"filter": {"is_active": True}, "sort": ["priority", "id"], "limit": 1000},
    )
    rule = first_match(rules["records"], text, manufacturer, now.date().isoformat())
    if rule is not None:
        return {
            "method": "rule",
            "etim_class": rule["etim_class"],
            "confidence": rule["confidence"],
            "rule_id": rule["id"],
        }
    return await _ask_model(text)


async def _ask_model(text: str) -> dict[str, Any] | None:
    target = os.environ.get(MODEL_VARIABLE)
    if not target:
        return None
    module, _, name = target.partition(":")
    answer = await getattr(importlib.import_module(module), name)(text, DEFAULT_ETIM_RELEASE)
    if answer is None or not _ETIM_CLASS.fullmatch(str(answer.get("etim_class", ""))):
        # A model may make up a class; what is none is no answer.
        return None
    confidence = min(1.0, max(0.0, float(answer.get("confidence", 0))))
    return {"method": "model", "etim_class": answer["etim_class"], "confidence": confidence}


async def _keep(
    call: ToolCalls,
    known: dict[str, Any] | None,
    data: dict[str, Any],
    found: Mapping[str, Any],
) -> dict[str, Any]:
    given = {key: each for key, each in data.items() if each is not None}
    if known is None:
        kept = await call("create", "ProductClassification_create", {"data": given})
    else:
        kept = await call(
            "reclassify",
            "ProductClassification_update",
            {
                "id": known["id"],
                "data": given,
                "expected": {"etim_class": known["etim_class"], "status": known["status"]},
            },
        )
    previous = (
        {}
        if known is None
        else {
            "previous_class": known["etim_class"],
            "previous_confidence": known["confidence"],
        }
    )
    await call(
        "note",
        "ClassificationHistory_create",
        {
            "data": {
                "classification_id": kept["id"],
                "change_type": "created" if known is None else "reclassified",
                **previous,
                "new_class": kept["etim_class"],
                "new_confidence": kept["confidence"],
                "reason": f"Found by {found['method']}.",
                "changed_at": _now().isoformat(),
                **({"rule_id": found["rule_id"]} if "rule_id" in found else {}),
            }
        },
    )
    return kept


async def _remember(call: ToolCalls, text: str, found: Mapping[str, Any]) -> None:
    await call(
        "remember",
        "ClassificationCache_bulk_upsert",
        {
            "data": [
                {
                    "cache_key": cache_key(text),
                    "input_text": text,
                    "etim_class": found["etim_class"],
                    "confidence": found["confidence"],
                    "hit_count": 0,
                    "expires_at": (_now() + timedelta(days=_CACHE_DAYS)).isoformat(),
                }
            ],
            "conflict_on": ["cache_key"],
        },
    )


def _change_of(
    before: Mapping[str, Any], verdict: str, suggested: str | None
) -> tuple[str, dict[str, Any]] | None:
    """What a verdict comes to: the kind of change, and the fields."""
    if verdict == "correct":
        return "confirmed", {"status": "confirmed", "confidence": 1.0}
    if verdict not in {"incorrect", "partly_correct"}:
        return None
    if suggested is None:
        return "rejected", {"status": "rejected"}
    if suggested == before["etim_class"]:
        raise ConflictError("The suggested class is the one that is judged wrong.")
    return "reclassified", {
        "etim_class": suggested,
        "status": "confirmed",
        "confidence": 1.0,
        "classification_method": "manual",
    }


async def _first(
    call: ToolCalls, step: str, tool: str, condition: Mapping[str, Any]
) -> dict[str, Any] | None:
    found = await call(step, tool, {"filter": dict(condition), "limit": 1})
    records: list[dict[str, Any]] = found["records"]
    return records[0] if records else None


def _now() -> datetime:
    return datetime.now(UTC)
