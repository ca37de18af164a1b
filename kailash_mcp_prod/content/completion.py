"""Completes arguments of prompts and variables of resource templates.

Ids and names come from the model's list tool, so what a principal may not list is not completed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.catalogue import Catalogue, UsableModel, UsableModels
from kailash_mcp_prod.content.prompt import FIELD_NAMES, MODEL_NAMES, Completes, RecordNames
from kailash_mcp_prod.content.prompts import DataPrompts
from kailash_mcp_prod.content.resources import DataResources
from kailash_mcp_prod.content.uris import MODEL_TEMPLATE, RECORD_TEMPLATE
from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.filters import MAX_WILDCARD_PATTERNS_LENGTH
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.types import Kind
from kailash_mcp_prod.records.values import MAX_INTEGER
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.surfaces.names import FULL

MAX_VALUES: Final = 100
_MAX_LOOKED_AT: Final = 1_000
_WHOLE_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
_WILD: Final = re.compile(r"[\\%_]")


@dataclass(frozen=True, slots=True)
class Values:
    """Values that an argument may take, the likeliest first; `protocol.Completions` is alike.

    `total` is how many are known, if not these alone; `more` says that there are more than that.
    """

    values: Sequence[str]
    total: int | None = None
    more: bool = False


NOTHING: Final = Values(())


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for values: by whom, what was typed, and what else has a value already."""

    principal: Principal
    typed: str
    given: Mapping[str, str]
    usable: UsableModels
    request_id: str


class DataCompletion:
    """Completes model names, field names, and ids and names of records.

    Args:
        service: The tools.
        catalogue: What a principal may use of the models.
        resources: Says which templates a principal gets.
        prompts: Says which prompts a principal gets.
    """

    def __init__(
        self,
        service: ToolService,
        catalogue: Catalogue,
        resources: DataResources,
        prompts: DataPrompts,
    ) -> None:
        self._service = service
        self._catalogue = catalogue
        self._resources = resources
        self._prompts = prompts

    async def complete(
        self,
        principal: Principal,
        reference: dict[str, Any],
        argument: str,
        value: str,
        given: Mapping[str, str],
        *,
        request_id: str,
    ) -> Values:
        """Values that begin with what was typed; of names also those that contain it.

        Args:
            principal: Who asks.
            reference: An MCP `PromptReference` or `ResourceTemplateReference`.
            argument: The argument or variable.
            value: What was typed so far.
            given: The arguments that have a value already.
            request_id: Stands in the log and in errors.

        Raises:
            NotFoundError: There is no such prompt, template or argument for the principal.
            ServerError: As from the list tool, such as `RateLimitedError`.
        """
        await self._service.ready()
        asked = _Asked(principal, value, given, self._catalogue.usable(principal), request_id)
        if reference.get("type") == "ref/prompt":
            return await self._of_prompt(asked, str(reference.get("name")), argument)
        return await self._of_template(asked, str(reference.get("uri")), argument)

    async def _of_prompt(self, asked: _Asked, name: str, argument: str) -> Values:
        for spec in await self._prompts.offered(asked.principal):
            known = spec.argument(argument)
            if spec.name == name and known is not None:
                return await self._values(asked, known.completes)
        raise _nothing_such(f"the argument '{shown(argument)}' of the prompt '{shown(name)}'")

    async def _of_template(self, asked: _Asked, uri: str, variable: str) -> Values:
        templates = await self._resources.templates(asked.principal)
        if uri in {each["uriTemplate"] for each in templates}:
            if uri == MODEL_TEMPLATE and variable == "model":
                return similar(asked.typed, asked.usable)
            if uri == RECORD_TEMPLATE and variable == "model":
                readable = [
                    name for name, each in asked.usable.items() if each.tool(Operation.READ)
                ]
                return similar(asked.typed, readable)
            if uri == RECORD_TEMPLATE and variable == "id":
                found = asked.usable.get(asked.given.get("model", ""))
                return await self._keys(asked, found) if found else NOTHING
        raise _nothing_such(f"the variable '{shown(variable)}' of the template '{shown(uri)}'")

    async def _values(self, asked: _Asked, completes: Completes) -> Values:
        if isinstance(completes, RecordNames):
            return await self._names(asked, completes)
        if completes == MODEL_NAMES:
            return similar(asked.typed, asked.usable)
        if completes == FIELD_NAMES:
            return similar(asked.typed, _field_names(asked))
        return NOTHING

    async def _keys(self, asked: _Asked, found: UsableModel) -> Values:
        tool = found.tool(Operation.LIST)
        if tool is None or found.tool(Operation.READ) is None:
            return NOTHING
        kind = found.model.key.type.kind
        arguments: dict[str, Any] = {"fields": ["id"], "sort": ["id"], "limit": MAX_VALUES}
        if kind not in {Kind.TEXT, Kind.INTEGER}:
            arguments["limit"] = _MAX_LOOKED_AT
        elif asked.typed:
            starting = _starts_with("id", asked.typed, kind)
            if starting is None:
                return NOTHING
            arguments["filter"] = starting
        records, more = await self._list(asked, tool, arguments)
        keys = [str(each["id"]) for each in records]
        return Values([key for key in keys if key.startswith(asked.typed)], more=more)

    async def _names(self, asked: _Asked, names: RecordNames) -> Values:
        """Names in which what was typed occurs at the start, and ids that begin with it."""
        found = asked.usable.get(names.model)
        tool = found.tool(Operation.LIST) if found else None
        if found is None or tool is None:
            return NOTHING
        fields = [each.name for each in found.fields(*names.fields) if each.type.kind is Kind.TEXT]
        arguments: dict[str, Any] = {"fields": ["id", *fields], "limit": MAX_VALUES}
        if fields:
            arguments["sort"] = fields[:1]
        if asked.typed:
            pattern = f"{_escaped(asked.typed)}%"
            conditions = [{name: {"$ilike": pattern}} for name in fields] + [
                each
                for each in [_starts_with("id", asked.typed, found.model.key.type.kind)]
                if each
            ]
            if len(pattern) * len(conditions) > MAX_WILDCARD_PATTERNS_LENGTH or not conditions:
                return NOTHING
            arguments["filter"] = {"$or": conditions}
        records, more = await self._list(asked, tool, arguments)
        matching = [_matching(each, ["id", *fields], asked.typed) for each in records]
        return Values(list(dict.fromkeys(filter(None, matching))), more=more)

    async def _list(
        self, asked: _Asked, tool: str, arguments: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], bool]:
        try:
            page = await self._service.call(
                asked.principal, tool, arguments, request_id=asked.request_id, surface=FULL
            )
        except (InvalidArgumentsError, NotFoundError, ForbiddenError):
            # No key looks like that, or none of these records are for this principal.
            return [], False
        return page["records"], "next_cursor" in page or "no_next_cursor" in page


def similar(typed: str, names: Iterable[str]) -> Values:
    """The names that begin with what was typed, then those that contain it; case is ignored."""
    low = typed.lower()
    known = list(dict.fromkeys(names))
    first = [name for name in known if name.lower().startswith(low)]
    found = [*first, *(name for name in known if low in name.lower() and name not in first)]
    return Values(found[:MAX_VALUES], total=len(found))


def _field_names(asked: _Asked) -> list[str]:
    """The fields of the model that was given; of all models when none was."""
    given = asked.given.get("model")
    if given:
        models = [asked.usable[given]] if given in asked.usable else []
    else:
        models = list(asked.usable.values())
    return [name for each in models for name in each.model.types]


def _escaped(text: str) -> str:
    return _WILD.sub(r"\\\g<0>", text)


def _starts_with(name: str, typed: str, kind: Kind) -> dict[str, Any] | None:
    """A filter for values whose text begins with what was typed; `None` when none can."""
    if kind is Kind.TEXT:
        pattern = f"{_escaped(typed)}%"
        fits = len(pattern) <= MAX_WILDCARD_PATTERNS_LENGTH
        return {name: {"$like": pattern}} if fits else None
    if kind is not Kind.INTEGER or not _WHOLE_NUMBER.fullmatch(typed):
        return None
    low = high = int(typed)
    ranges = []
    while low <= MAX_INTEGER:
        ranges.append({name: {"$gte": low, "$lte": min(high, MAX_INTEGER)}})
        low, high = low * 10, high * 10 + 9
    return {"$or": ranges} if ranges else None


def _matching(record: Mapping[str, Any], names: Sequence[str], typed: str) -> str | None:
    """The value by which a record was found; without a text typed, its first name."""
    texts = [str(record[name]) for name in names if record.get(name) is not None]
    if not typed:
        return texts[1] if len(texts) > 1 else texts[0]
    low = typed.lower()
    return next((text for text in texts if text.lower().startswith(low)), None)


def _nothing_such(what: str) -> NotFoundError:
    return NotFoundError(
        f"There is not {what}. List prompts and resource templates for what there is.", field="ref"
    )
