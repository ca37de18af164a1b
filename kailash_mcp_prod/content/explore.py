"""The prompt `explore_data`: find out what the data holds, by reading."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.content.catalogue import UsableModel, UsableModels
from kailash_mcp_prod.content.prompt import (
    FIELD_NAMES,
    MODEL_NAMES,
    PromptArgument,
    PromptSpec,
    Scene,
    Script,
)
from kailash_mcp_prod.content.uris import MODELS, model_uri
from kailash_mcp_prod.content.wording import call, listed, prompt_of, steps
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.types import COMPARABLE_KINDS, ORDERED_KINDS, Kind
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO

_MAX_REFERENCES = 12
_MAX_NAMES = 20
_ONLY_READ = "Only read: create, change and delete nothing."


def write(scene: Scene) -> Script:
    """The prompt over all models, one model, or a field of it.

    Raises:
        InvalidArgumentsError: The model or the field is unknown, or there is no model to a field.
    """
    name, field_name = scene.values.get("model"), scene.values.get("field")
    if name is None:
        if field_name is not None:
            raise InvalidArgumentsError(
                "arguments.field: give the model of the field as model, too.",
                field="arguments.model",
            )
        return _all_models(scene.usable)
    usable = scene.usable.get(name)
    if usable is None:
        raise InvalidArgumentsError(
            f"arguments.model: there is no model '{shown(name)}' that you may use. "
            f"{_known(list(scene.usable))}",
            field="arguments.model",
        )
    field = None
    if field_name is not None:
        field = usable.model.field(field_name)
        if field is None:
            raise InvalidArgumentsError(
                f"arguments.field: {name} has no field '{shown(field_name)}'. "
                f"{_known(list(usable.model.types))}",
                field="arguments.field",
            )
    return _one_model(scene.usable, usable, field)


def references(usable: UsableModels, model: Model) -> dict[str, str]:
    """Which fields of a model hold ids of which usable models, as their names tell.

    Example:
        `{"company_id": "Company"}` for a model with such a field.
    """
    targets = {name.lower(): name for name in usable}
    found = {}
    for each in model.fields:
        stem = each.name.removesuffix("_id").replace("_", "")
        if not stem or not each.name.endswith("_id"):
            continue
        similar = [name for low, name in targets.items() if low.endswith(stem)]
        target = targets.get(stem) or (similar[0] if len(similar) == 1 else None)
        if target is not None:
            found[each.name] = target
    return found


def _known(names: list[str]) -> str:
    if not names:
        return "There is none that you may use; leave it out."
    more = " and others" if len(names) > _MAX_NAMES else ""
    return f"Use one of: {', '.join(names[:_MAX_NAMES])}{more}."


def _all_models(usable: UsableModels) -> Script:
    lists = [
        call(name, _newest(each.model, 5))
        for each in usable.values()
        if (name := each.tool(Operation.LIST))
    ]
    links = [
        f"`{name}.{field}` → {target}"
        for name, each in usable.items()
        for field, target in references(usable, each.model).items()
    ]
    instructions = steps(
        f"Read the overview of the {len(usable)} models that you may use; it is attached "
        f"({MODELS}). Choose those that matter to the user, at most five.",
        f"Learn the fields of each: read {MODELS}/<model>, or call "
        f"{call(MODELS_INFO, {'model': '<model>'})}.",
        "Look at its newest records and count them all: for example "
        f"{lists[0]}; `total` is how many there are."
        if lists
        else "You may list no records of any model; say so.",
        f"Follow how records refer to each other: {'; '.join(links[:_MAX_REFERENCES])}."
        if links
        else None,
        _ONLY_READ,
    )
    closing = (
        "Then report, in this order: what the application is for; each model with its number of "
        "records and what it refers to; what stands out (gaps, outliers, old records), with ids as "
        "evidence; three questions that this data can answer. Where you could not look, say so."
    )
    task = "Find out what the data of this application holds, and report it to the user."
    return Script(prompt_of(task, instructions, closing, {}), (MODELS,))


def _one_model(usable: UsableModels, chosen: UsableModel, field: Field | None) -> Script:
    model = chosen.model
    find, read = chosen.tool(Operation.LIST), chosen.tool(Operation.READ)
    uri = model_uri(model.name)
    links = references(usable, model)
    followed = [f"`{name}` holds the id of a {target}" for name, target in links.items()]
    instructions = steps(
        f"Read the document of {model.name}, with its schema and example calls; it is attached "
        f"({uri}).",
        *(_looks(model, find, field) if find else [_no_list(chosen, read)]),
        f"Follow the references of interest, by reading {MODELS}/<model>/<id>: "
        f"{'; '.join(followed[:_MAX_REFERENCES])}."
        if followed
        else None,
        _ONLY_READ,
    )
    subject = f"`{field.name}` of {model.name}" if field else f"the {model.name} records"
    closing = (
        "Then report: how many records there are and since when; the figures you found, as a small "
        "table; what stands out (gaps, outliers, duplicates), with ids as evidence; two questions "
        "worth asking next. Tell apart what you counted and what you saw in a sample."
    )
    task = f"Find out what {subject} of this application hold, and report it to the user."
    if field is not None:
        task = f"Find out what {subject} holds in this application, and report it to the user."
    return Script(prompt_of(task, instructions, closing, {}), (uri,))


def _no_list(chosen: UsableModel, read: str | None) -> str:
    if read:
        return f"You may not list these records. Ask the user for ids, and read each with `{read}`."
    names = [each.name for each in chosen.tools]
    return f"You may not read these records; you may call {listed(names)}. Tell the user."


def _looks(model: Model, find: str, field: Field | None) -> list[str | None]:
    first = (
        f"Look at the newest records and count them all: {call(find, _newest(model, 10))}; `total` "
        "is how many there are, and `next_cursor` goes on."
    )
    if field is not None:
        return [first, *_of_field(field, find)]
    telling = [each for each in model.fields if _counts(each)][:2]
    return [first, *(step for each in telling for step in _of_field(each, find)[:1])]


def _newest(model: Model, limit: int) -> dict[str, Any]:
    sort = {"sort": ["-created_at"]} if model.field("created_at") else {}
    return {**sort, "limit": limit, "include_total": True}


def _counts(field: Field) -> bool:
    return field.type.kind in {Kind.CHOICE, Kind.BOOLEAN}


def _of_field(field: Field, find: str) -> list[str | None]:
    name = field.name
    missing = call(find, {"filter": {name: {"$null": True}}, "limit": 1, "include_total": True})
    gaps = f"Count the records without it: {missing}." if field.may_be_null else None
    if _counts(field):
        values = list(field.type.choices) if field.type.kind is Kind.CHOICE else [True, False]
        example = {"filter": {name: values[0]}, "limit": 1, "include_total": True}
        texts = listed(
            [str(each) if not isinstance(each, bool) else str(each).lower() for each in values]
        )
        return [
            f"Count the records for each value of `{name}` ({texts}): {call(find, example)}.",
            gaps,
        ]
    if field.type.kind not in COMPARABLE_KINDS:
        example = {"fields": list(dict.fromkeys(["id", name])), "limit": 20}
        return [f"Look at what stands in `{name}`: {call(find, example)}.", gaps]
    low = {"sort": [name], "fields": list(dict.fromkeys(["id", name])), "limit": 5}
    ends = f"Find both ends of `{name}`: {call(find, low)}, and the same with `-{name}`."
    if field.type.kind is Kind.TEXT or field.type.kind not in ORDERED_KINDS:
        ends = (
            f"Look at the values of `{name}` in order: {call(find, {**low, 'limit': 50})}; go on "
            "with `cursor` while there is something new."
        )
    return [ends, gaps]


EXPLORE_DATA = PromptSpec(
    name="explore_data",
    title="Explore the data",
    description="Find out what the data holds: all models, one of them, or one of its fields.",
    arguments=(
        PromptArgument("model", "The model to look at; all when absent.", completes=MODEL_NAMES),
        PromptArgument(
            "field", "The field of the model to look at closely.", completes=FIELD_NAMES
        ),
    ),
    needs=(),
    write=write,
)
