"""Quotes: drafted and priced with exact decimals, and sent to customers who may buy for so much."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from kailash_mcp_prod import ToolCalls
from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError

_CENT: Final = Decimal("0.01")
_MAX_LINES: Final = 500
_DEFAULT_TAX_PERCENT: Final = "19"
_VALID_DAYS: Final = 30


def totals(
    line_items: Any, discount_percent: Any = "0", tax_percent: Any = _DEFAULT_TAX_PERCENT
) -> dict[str, Any]:
    """The positions with their totals, and the four sums of a quote, rounded to cents.

    Raises:
        InvalidArgumentsError: A position lacks something or is no number.

    Example:
        `totals([{"product_code": "A1", "quantity": 3, "unit_price": "9.99"}])`
    """
    if not isinstance(line_items, list) or not 1 <= len(line_items) <= _MAX_LINES:
        raise _wrong("line_items", f"use a list of 1 to {_MAX_LINES} positions")
    priced = []
    for place, item in enumerate(line_items):
        field = f"line_items[{place}]"
        if not isinstance(item, dict) or not item.get("product_code"):
            raise _wrong(f"{field}.product_code", "this is required")
        quantity = _number(item.get("quantity"), f"{field}.quantity")
        price = _number(item.get("unit_price"), f"{field}.unit_price")
        total = str(_cents(quantity * price))
        priced.append({**item, "unit_price": str(price), "total": total})
    subtotal = sum((Decimal(each["total"]) for each in priced), Decimal(0))
    discount = _cents(subtotal * _percent(discount_percent, "discount_percent"))
    tax = _cents((subtotal - discount) * _percent(tax_percent, "tax_percent"))
    return {
        "line_items": priced,
        "subtotal": str(_cents(subtotal)),
        "discount_amount": str(discount),
        "tax_amount": str(tax),
        "total_amount": str(_cents(subtotal - discount + tax)),
    }


async def create(
    call: ToolCalls,
    *,
    customer_id: str,
    quote_number: str,
    line_items: list[dict[str, Any]],
    title: str | None = None,
    owner_id: str | None = None,
    discount_percent: Any = "0",
    tax_percent: Any = _DEFAULT_TAX_PERCENT,
) -> dict[str, Any]:
    """Drafts a quote for a customer that is active.

    Raises:
        ConflictError: The customer is not active, or the number is taken.
    """
    priced = totals(line_items, discount_percent, tax_percent)
    customer = await call("customer", "Customer_read", {"id": customer_id})
    if not customer["is_active"]:
        raise ConflictError(f"The customer {customer_id} is not active; it gets no quotes.")
    given = {
        "company_id": customer["company_id"],
        "owner_id": owner_id or customer["account_manager_id"],
        "title": title,
    }
    data = {
        "quote_number": quote_number,
        "customer_id": customer_id,
        "currency": customer["currency"],
        **{key: each for key, each in given.items() if each is not None},
        **priced,
    }
    return await call("quote", "Quote_create", {"data": data})


async def price(
    call: ToolCalls,
    *,
    quote_id: str,
    line_items: list[dict[str, Any]] | None = None,
    discount_percent: Any = "0",
    tax_percent: Any = _DEFAULT_TAX_PERCENT,
) -> dict[str, Any]:
    """Prices a draft anew, from other positions or its own.

    Raises:
        ConflictError: It is no draft, or somebody has changed it meanwhile.
    """
    quote = await call("read", "Quote_read", {"id": quote_id})
    _require_draft(quote)
    items = quote["line_items"] if line_items is None else line_items
    priced = totals(items, discount_percent, tax_percent)
    expected = {"status": "draft", "total_amount": quote["total_amount"]}
    return await call(
        "update", "Quote_update", {"id": quote_id, "data": priced, "expected": expected}
    )


async def approve(
    call: ToolCalls, *, quote_id: str, valid_days: int = _VALID_DAYS
) -> dict[str, Any]:
    """Sends a draft, if with it the customer's open offers stay within its credit limit.

    Raises:
        ConflictError: It is no draft, comes to nothing, or goes beyond the credit limit.
    """
    quote = await call("read", "Quote_read", {"id": quote_id})
    if quote["status"] == "sent":
        return quote
    _require_draft(quote)
    amount = Decimal(quote["total_amount"])
    if amount <= 0:
        raise ConflictError("The quote comes to nothing. Price it first.")
    customer = await call("customer", "Customer_read", {"id": quote["customer_id"]})
    if customer["credit_limit"] is not None:
        open_amount = await _open_amount(call, customer["id"])
        if open_amount + amount > Decimal(customer["credit_limit"]):
            raise ConflictError(
                "With this quote the customer's open offers go beyond its credit limit of "
                f"{customer['credit_limit']} {customer['currency']}.",
                details={"open_amount": str(open_amount), "quote_amount": str(amount)},
            )
    now = datetime.now(UTC)
    last_day: date = now.date() + timedelta(days=valid_days)
    return await call(
        "send",
        "Quote_update",
        {
            "id": quote_id,
            "data": {
                "status": "sent",
                "sent_at": now.isoformat(),
                "valid_until": last_day.isoformat(),
            },
            # Whoever prices it meanwhile has it approved anew.
            "expected": {"status": "draft", "total_amount": quote["total_amount"]},
        },
    )


async def _open_amount(call: ToolCalls, customer_id: str) -> Decimal:
    total, arguments = (
        Decimal(0),
        {
            "filter": {"customer_id": customer_id, "status": {"$in": ["sent", "accepted"]}},
            "fields": ["id", "total_amount"],
            "limit": 1000,
        },
    )
    while True:
        page = await call("open", "Quote_list", arguments)
        total += sum((Decimal(each["total_amount"]) for each in page["records"]), Decimal(0))
        if "next_cursor" not in page:
            return total
        arguments = {**arguments, "cursor": page["next_cursor"]}


def _require_draft(quote: dict[str, Any]) -> None:
    if quote["status"] != "draft":
        raise ConflictError(f"The quote is {quote['status']}, and only drafts can be changed.")


def _number(value: Any, field: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise _wrong(field, "use a number that is not negative, money as text")
    return number


def _percent(value: Any, field: str) -> Decimal:
    number = _number(value, field)
    if number > 100:
        raise _wrong(field, "use a percentage of at most 100")
    return number / 100


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, rounding=ROUND_HALF_UP)


def _wrong(field: str, fix: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(f"{field}: {fix}.", field=field)
