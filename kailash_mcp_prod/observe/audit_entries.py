"""What the audit says of a call: who asked for what, what was to be changed, how it ended."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.observe.audit_chain import Draft, draft_of
from kailash_mcp_prod.tools.call_reports import OK, CallReport
from kailash_mcp_prod.tools.spec import ToolSpec

MAX_IDS: Final = 1000
"""As many ids stand in an entry; `count` has the number of all."""

MAX_FIELDS: Final = 100
"""As many names of fields stand in an entry."""

MAX_VALUES_BYTES: Final = 16 * 1024
"""Longer values are left out."""

MASKED: Final = "***"

_LONGEST: Final = 255


class AuditEntries:
    """Makes entries of calls.

    Args:
        policy: Knows the fields that somebody must not see.
        values: Whether the values are kept too, and not only the names of fields.
        mask: Further fields whose values are never kept, as `field` or `Model.field`.
    """

    def __init__(self, policy: Policy, *, values: bool = False, mask: Iterable[str] = ()) -> None:
        self._values = values
        self._masked = {*mask}
        for model, rule in policy.rules_by_model():
            self._masked |= {f"{model}.{name}" for name in rule.hide}

    def of(self, report: CallReport) -> Draft:
        """The entry of a call whose tool is known and that is over."""
        tool, call = report.tool, report.call
        assert tool is not None  # noqa: S101 - as said
        facts = caller_facts(call.principal)
        facts |= {"tool": clean(tool.name), "outcome": report.outcome}
        if tool.operation is not None:
            facts |= {"model": tool.group, "operation": tool.operation}
        facts["request_id"] = clean(call.request_id)
        if call.session_id is not None:
            facts["session"] = clean(call.session_id)
        arguments = call.arguments if isinstance(call.arguments, Mapping) else {}
        result = report.result if report.outcome == OK else None
        if tool.operation is None:
            _add_targets(facts, _named_ids(arguments, result))
            facts["fields"] = _names(name for name in arguments if not _names_ids(name))
        else:
            _add_targets(facts, _record_ids(arguments, result), (result or {}).get("processed"))
            facts["fields"] = _changed(arguments)
            if self._values:
                facts |= self._kept(tool, arguments)
        if not facts["fields"]:
            del facts["fields"]
        if call.idempotency_key is not None:
            facts["key"] = hashlib.sha256(call.idempotency_key.encode()).hexdigest()[:16]
        if report.repeated:
            facts["repeated"] = True
        if report.is_part or report.within is not None:
            facts["part"] = True
        return draft_of(facts)

    def _kept(self, tool: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a call, without those that are nobody's business."""
        kept: dict[str, Any] = {}
        data = arguments.get("data")
        if isinstance(data, Mapping):
            kept["data"] = self._unmasked(tool.group, data)
        elif isinstance(data, Sequence) and not isinstance(data, str):
            rows = (each for each in data if isinstance(each, Mapping))
            kept["data"] = [self._unmasked(tool.group, each) for each in rows]
        if "filter" in arguments:
            kept["filter"] = self._unmasked_filter(tool.group, arguments["filter"])
        try:
            size = len(msgspec.json.encode(kept))
        except (TypeError, ValueError, RecursionError):
            return {"values_left_out": "not JSON"}
        if size > MAX_VALUES_BYTES:
            return {"values_left_out": f"{size} bytes"}
        return {"values": _cleaned(kept)} if kept else {}

    def _unmasked(self, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            str(name): MASKED if self._masks(model, str(name)) else value
            for name, value in values.items()
        }

    def _unmasked_filter(self, model: str, condition: Any) -> Any:
        if isinstance(condition, Mapping):
            return {
                str(name): (
                    self._unmasked_filter(model, value)
                    if str(name).startswith("$")
                    else MASKED
                    if self._masks(model, str(name))
                    else value
                )
                for name, value in condition.items()
            }
        if isinstance(condition, list | tuple):
            return [self._unmasked_filter(model, each) for each in condition]
        return condition

    def _masks(self, model: str, name: str) -> bool:
        return name in self._masked or f"{model}.{name}" in self._masked


def caller_facts(principal: Principal) -> dict[str, Any]:
    """What every entry says of when it is and who called."""
    facts: dict[str, Any] = {"at": round(time.time(), 6), "who": clean(principal.subject)}
    if principal.tenant is not None:
        facts["tenant"] = clean(principal.tenant)
    facts["method"] = principal.method
    return facts


def clean(text: str) -> str:
    """A text that every database takes, and that is not too long."""
    if len(text) <= _LONGEST and text.isascii() and text.isprintable():
        return text
    return text[:_LONGEST].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def ids_of(found: Iterable[Any]) -> list[str | int]:
    """Those of the values that can be ids, as they stand in an entry."""
    return [
        clean(each) if isinstance(each, str) else each
        for each in found
        if isinstance(each, str) or (isinstance(each, int) and not isinstance(each, bool))
    ]


def _add_targets(facts: dict[str, Any], found: Iterable[Any], count: Any = None) -> None:
    ids = ids_of(found)
    if ids:
        facts["ids"] = ids[:MAX_IDS]
    if isinstance(count, int) and count != len(ids[:MAX_IDS]):
        facts["count"] = count
    elif len(ids) > MAX_IDS:
        facts["count"] = len(ids)


def _record_ids(arguments: Mapping[str, Any], result: Mapping[str, Any] | None) -> Iterable[Any]:
    """The ids of the records, by what came of the call, else by what it asked for."""
    for source in (result, arguments):
        if source is None:
            continue
        if isinstance(source.get("ids"), list | tuple):
            return source["ids"]  # type: ignore[no-any-return]
        if "id" in source:
            return [source["id"]]
    data = arguments.get("data")
    rows = data if isinstance(data, list | tuple) else [data]
    return [each["id"] for each in rows if isinstance(each, Mapping) and "id" in each]


def _named_ids(arguments: Mapping[str, Any], result: Mapping[str, Any] | None) -> list[Any]:
    """The ids that stand in arguments and results of other tools under names such as `lease_id`."""
    found: dict[Any, None] = {}
    for source in (arguments, result or {}):
        for name, value in source.items():
            # Results say by `agent_id` who called.
            if _names_ids(name) and not (source is result and name == "agent_id"):
                several = value if isinstance(value, list | tuple) else [value]
                found.update((each, None) for each in several if isinstance(each, str | int))
    return list(found)


def _names_ids(name: Any) -> bool:
    return isinstance(name, str) and (name in {"id", "ids"} or name.endswith(("_id", "_ids")))


def _changed(arguments: Mapping[str, Any]) -> list[str]:
    data = arguments.get("data")
    rows = data if isinstance(data, list | tuple) else [data]
    names: dict[str, None] = {}
    for row in rows:
        if isinstance(row, Mapping) and not names.keys() >= row.keys():
            names.update(dict.fromkeys(row))
    return _names(name for name in names if name != "id")


def _names(found: Iterable[Any]) -> list[str]:
    return [clean(str(name)) for name, _ in zip(found, range(MAX_FIELDS), strict=False)]


def _cleaned(value: Any) -> Any:
    """A value without what PostgreSQL does not take; texts keep their length."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_cleaned(str(name)): _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value
