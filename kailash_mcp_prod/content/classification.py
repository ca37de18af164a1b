"""The prompt `classify_product`: give a product its ETIM class, from evidence."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.content.catalogue import UsableModel
from kailash_mcp_prod.content.prompt import (
    MAX_TEXT,
    Need,
    PromptArgument,
    PromptSpec,
    RecordNames,
    Scene,
    Script,
)
from kailash_mcp_prod.content.uris import model_uri
from kailash_mcp_prod.content.wording import call, listed, name_of, prompt_of, steps
from kailash_mcp_prod.records.operations import Operation

_MODEL = "ProductClassification"
_SURE = 0.8


def write(scene: Scene) -> Script:
    """The prompt, with the tools that the caller may use and the fields that there are."""
    product = scene.usable[_MODEL]
    given = "product" in scene.values
    instructions = steps(
        _know(product, given=given),
        _search_old(product),
        _apply_rules(scene),
        _find_classes(scene),
        _decide(product),
        _store(product),
        _note_history(scene),
    )
    task = "Give a product its ETIM class, from evidence, and store the answer."
    closing = (
        "Take class and feature codes from results, never from memory. Report the class, the "
        "confidence, the evidence for it and the runner-up; when nothing fits, say so and store "
        "nothing."
    )
    return Script(prompt_of(task, instructions, closing, scene.values), (model_uri(_MODEL),))


def _know(product: UsableModel, *, given: bool) -> str:
    known = listed([f"`{each.name}`" for each in _described_by(product)])
    if given:
        return (
            "The product is given below as `product`: an article number, a name or a "
            f"description. Ask the user for what of {known} you can't tell from it."
        )
    return f"Ask the user for the product: {known}."


def _described_by(product: UsableModel) -> list[Any]:
    return product.fields("manufacturer", "product_code", "product_name", "product_description")


def _search_old(product: UsableModel) -> str:
    search = {
        "filter": {
            "$or": [
                {"product_code": "<product_code>"},
                {"product_name": {"$ilike": "%<product_name>%"}},
            ]
        },
        "limit": 5,
    }
    confirmed = (
        " One that is `confirmed` is the answer: report it and end."
        if (product.fields("status"))
        else ""
    )
    return (
        "Look whether it is classified already: "
        f"{call(product.tool(Operation.LIST) or '', search)}.{confirmed}"
    )


def _apply_rules(scene: Scene) -> str | None:
    rule = scene.usable.get("ClassificationRule")
    find = rule.tool(Operation.LIST) if rule else None
    if rule is None or find is None:
        return None
    if len(rule.fields("is_active", "priority", "match_type", "etim_class")) < 4:
        return None
    search = {"filter": {"is_active": True}, "sort": ["priority"], "limit": 100}
    kind = rule.fields("match_type")[0]
    return (
        f"Try the rules in their order: {call(find, search)}. {name_of(kind)} says how a rule "
        "recognises a product; the first that matches decides, and its `confidence` is the "
        "answer's. Mind excluded words and days of validity."
    )


def _find_classes(scene: Scene) -> str | None:
    attribute = scene.usable.get("ETIMAttribute")
    find = attribute.tool(Operation.LIST) if attribute else None
    if attribute is None or find is None or len(attribute.fields("etim_class", "class_name")) < 2:
        return None
    search = {
        "filter": {"class_name": {"$ilike": "%<word>%"}},
        "fields": ["etim_class", "class_name"],
        "limit": 50,
    }
    features = {"filter": {"etim_class": "<etim_class>"}, "limit": 50}
    return (
        "Without a rule, find classes by the words for the product, in English: "
        f"{call(find, search)}. Compare the features of the best three with the product: "
        f"{call(find, features)}."
    )


def _decide(product: UsableModel) -> str:
    review = " and `needs_review` true" if product.fields("needs_review") else ""
    others = " Keep the runners-up as `alternatives`." if product.fields("alternatives") else ""
    return (
        "Decide for one class, with the `confidence` from 0 to 1 that you would bet on. Below "
        f"{_SURE} the answer is stored with that confidence{review}, and a person decides."
        f"{others}"
    )


def _store(product: UsableModel) -> str:
    method = product.fields("classification_method")
    note = f" Say in {name_of(method[0])} what found the class." if method else ""
    data: dict[str, Any] = {
        each.name: f"<{each.name}>" for each in product.model.writable if each.required
    }
    if "confidence" in data:
        data["confidence"] = 0.9
    create = call(product.tool(Operation.CREATE) or "", {"data": data})
    update = product.tool(Operation.UPDATE)
    again = f" Change one that is there with `{update}` instead." if update else ""
    return f"Show the user the record, and store it once they agree: {create}.{note}{again}"


def _note_history(scene: Scene) -> str | None:
    history = scene.usable.get("ClassificationHistory")
    create = history.tool(Operation.CREATE) if history else None
    if history is None or create is None or not history.fields("classification_id"):
        return None
    data = {each.name: f"<{each.name}>" for each in history.model.writable if each.required}
    return f"Note the change for audits: {call(create, {'data': data})}."


CLASSIFY_PRODUCT = PromptSpec(
    name="classify_product",
    title="Classify a product",
    description="Give a product its ETIM class from rules and features, and store the answer.",
    arguments=(
        PromptArgument(
            "product",
            "Article number, name or description of the product.",
            max_length=MAX_TEXT,
            completes=RecordNames(_MODEL, ("product_name", "product_code")),
        ),
    ),
    needs=(
        Need(
            _MODEL,
            (Operation.CREATE, Operation.LIST),
            ("product_code", "product_name", "etim_class", "confidence"),
        ),
    ),
    write=write,
)
