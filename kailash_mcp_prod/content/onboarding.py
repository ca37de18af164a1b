"""The prompt `onboard_customer`: make a customer of a company, without inventing anything."""

from __future__ import annotations

from typing import Any

from kailash_mcp_prod.content.catalogue import UsableModel
from kailash_mcp_prod.content.prompt import (
    Need,
    PromptArgument,
    PromptSpec,
    RecordNames,
    Scene,
    Script,
)
from kailash_mcp_prod.content.uris import MODELS, model_uri
from kailash_mcp_prod.content.wording import call, listed, name_of, prompt_of, steps
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.descriptions import example_arguments

_LINK = "company_id"
_MOST_ASKED = 8


def write(scene: Scene) -> Script:
    """The prompt, with the tools that the caller may use and the fields that there are."""
    customer, company = scene.usable["Customer"], scene.usable["Company"]
    instructions = steps(
        _find_company(company, given="company" in scene.values),
        _ask(customer),
        _search_twin(customer),
        _choose_manager(scene, customer),
        _create(customer),
        _check(customer),
        _offer_quote(scene),
    )
    task = "Make a record for a new customer of a company, together with the user."
    closing = (
        "Invent nothing: what the user does not know is left out, and required values are asked "
        "for. End with the new id and with what is still missing."
    )
    text = prompt_of(task, instructions, closing, scene.values)
    return Script(text, (model_uri("Customer"),))


def _find_company(company: UsableModel, *, given: bool) -> str:
    search = call(
        company.tool(Operation.LIST) or "",
        {
            "filter": {"$or": [{"id": "<company>"}, {"name": {"$ilike": "%<company>%"}}]},
            "fields": [each.name for each in company.fields("id", "name", "default_currency")],
            "limit": 5,
        },
    )
    ask = "" if given else "Ask the user for the company that will serve the customer. "
    which = "the value given below as `company`" if given else "the answer"
    return (
        f"{ask}Find the company, with {which} in place of <company>: {search}. None or several? "
        "Show what you found and let the user choose."
    )


def _ask(customer: UsableModel) -> str:
    writable = customer.model.writable
    required = [name_of(each) for each in writable if each.required and each.name != _LINK]
    others = [
        name_of(each) for each in writable if not each.required and not each.name.endswith("_id")
    ]
    must = f"Ask the user in one message for {listed(required)}" if required else "Ask the user"
    may = f", and for what is known of {listed(others[:_MOST_ASKED])}" if others else ""
    return f"{must}{may}. The attached document says what each field takes."


def _search_twin(customer: UsableModel) -> str:
    model = customer.model
    unique = [key[0] for key in model.unique_keys if len(key) == 1 and key != ("id",)]
    also = [each.name for each in customer.fields("tax_id", "email") if each.name not in unique]
    conditions: list[dict[str, Any]] = [{name: f"<{name}>"} for name in [*unique, *also]]
    search = {"filter": {"$or": [{"name": {"$ilike": "%<name>%"}}, *conditions]}, "limit": 5}
    return (
        "Look whether the customer is there already, with the conditions whose values you know: "
        f"{call(customer.tool(Operation.LIST) or '', search)}. If so, show it and ask before you "
        "go on."
    )


def _choose_manager(scene: Scene, customer: UsableModel) -> str | None:
    user = scene.usable.get("User")
    find = user.tool(Operation.LIST) if user else None
    if user is None or find is None or not customer.fields("account_manager_id"):
        return None
    if len(user.fields(_LINK, "is_active", "name")) < 3:
        return None
    search = {
        "filter": {_LINK: "<id of the company>", "is_active": True},
        "fields": ["id", "name"],
    }
    return f"Let the user choose who looks after the customer: {call(find, search)}."


def _create(customer: UsableModel) -> str:
    example = example_arguments(customer.model, Operation.CREATE)["data"]
    values = {**{name: f"<{name}>" for name in example}, _LINK: "<id of the company>"}
    return (
        "Show the user the whole record, and create it once they agree: "
        f"{call(customer.tool(Operation.CREATE) or '', {'data': values})}. The error `conflict` "
        "names a key that is taken: go back to the search with it. `invalid_arguments` names the "
        "field and the fix."
    )


def _check(customer: UsableModel) -> str | None:
    if customer.tool(Operation.READ) is None:
        return None
    return f"Read {MODELS}/Customer/<new id>, and compare it with what was agreed."


def _offer_quote(scene: Scene) -> str | None:
    quote = scene.usable.get("Quote")
    create = quote.tool(Operation.CREATE) if quote else None
    if quote is None or create is None or not quote.fields("customer_id"):
        return None
    return f"Offer to prepare a first quote with `{create}`; make none without being asked."


ONBOARD_CUSTOMER = PromptSpec(
    name="onboard_customer",
    title="Onboard a customer",
    description="Make a record for a new customer of a company: no duplicates, nothing invented.",
    arguments=(
        PromptArgument(
            "company",
            "Id or name of the company that will serve the customer.",
            completes=RecordNames("Company", ("name",)),
        ),
    ),
    needs=(
        Need("Customer", (Operation.CREATE, Operation.LIST), ("name", _LINK)),
        Need("Company", (Operation.LIST,), ("name",)),
    ),
    write=write,
)
