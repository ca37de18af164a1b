"""Customer onboarding: a customer of a company that is active, made once."""

from __future__ import annotations

from typing import Any, Final

from kailash_mcp_prod import ToolCalls
from kailash_mcp_prod.errors import ConflictError

_MANAGERS: Final = ["sales", "manager"]
_MOST_MANAGERS: Final = 20


async def onboard(
    call: ToolCalls,
    *,
    company_id: str,
    name: str,
    customer_number: str | None = None,
    tax_id: str | None = None,
    email: str | None = None,
    segment: str | None = None,
    account_manager_id: str | None = None,
) -> dict[str, Any]:
    """Makes the customer, unless the company has it by its number or tax number.

    Raises:
        ConflictError: The company is not active.
    """
    company = await call("company", "Company_read", {"id": company_id})
    if not company["is_active"]:
        raise ConflictError(f"The company {company_id} is not active. Choose another one.")
    known = {"customer_number": customer_number, "tax_id": tax_id}
    twin = await _twin(call, company_id, {key: each for key, each in known.items() if each})
    if twin is not None:
        return {"customer": twin, "created": False}
    manager = account_manager_id or await _manager(call, company_id)
    given = {
        **known,
        "email": email,
        "segment": segment,
        "account_manager_id": manager,
        "currency": company["default_currency"],
    }
    customer = await call(
        "customer",
        "Customer_create",
        {
            "data": {
                "name": name,
                "company_id": company_id,
                **{key: each for key, each in given.items() if each is not None},
            }
        },
    )
    return {"customer": customer, "created": True}


async def _twin(call: ToolCalls, company_id: str, known: dict[str, str]) -> dict[str, Any] | None:
    if not known:
        return None
    same = [{key: each} for key, each in known.items()]
    found = await call(
        "twin",
        "Customer_list",
        {"filter": {"company_id": company_id, "$or": same}, "limit": 1},
    )
    records: list[dict[str, Any]] = found["records"]
    return records[0] if records else None


async def _manager(call: ToolCalls, company_id: str) -> str | None:
    """The one of the company's active sales people who has the fewest customers."""
    found = await call(
        "managers",
        "User_list",
        {
            "filter": {"company_id": company_id, "is_active": True, "role": {"$in": _MANAGERS}},
            "fields": ["id"],
            "sort": ["id"],
            "limit": _MOST_MANAGERS,
        },
    )
    loads = {}
    for each in found["records"]:
        counted = await call(
            "load",
            "Customer_list",
            {
                "filter": {"account_manager_id": each["id"]},
                "fields": ["id"],
                "limit": 1,
                "include_total": True,
            },
        )
        loads[each["id"]] = counted["total"]
    return min(loads, key=lambda user: (loads[user], user)) if loads else None


ONBOARDING_STEPS: Final[dict[str, dict[str, Any]]] = {
    "onboard": {
        "type": "workflow",
        "workflow": "onboard_customer",
        "inputs": {
            "company_id": "{{session.company_id}}",
            "name": "{{session.customer_name}}",
            "tax_id": "{{session.tax_id}}",
        },
    },
    "first_quote": {
        "type": "dataflow_operation",
        "model": "Quote",
        "operation": "create",
        "parameters": {
            "quote_number": "{{session.quote_number}}",
            "customer_id": "{{steps.onboard.customer.id}}",
            "company_id": "{{session.company_id}}",
            "title": "First offer for {{steps.onboard.customer.name}}",
            "total_amount": "0.00",
        },
        "compensate": {
            "type": "dataflow_operation",
            "model": "Quote",
            "operation": "delete",
            "parameters": {"id": "{{result.id}}"},
        },
    },
}
"""The template `customer_onboarding`; its session has the variables that it names."""
