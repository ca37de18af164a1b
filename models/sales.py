"""Customers and the quotes they are sent."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from models.constraints import EMAIL, LONG_TEXT, NAME, NOT_NEGATIVE, PHONE, SHORT_TEXT, TAX_ID
from models.database import db
from models.enumerations import Currency, CustomerSegment, QuoteStatus


@db.model
class Customer:
    """A business that asks a company for quotes and buys from it.

    Attributes:
        id: Primary key, for example customer-nordbau; generated when not given.
        name: Name as it appears on quotes.
        customer_number: Account number in the ERP system; no two customers share one.
        company_id: Company that serves the customer.
        account_manager_id: User who looks after the customer.
        segment: Market the customer belongs to.
        industry: Line of business, for example "Hospitals" or "Residential building".
        email: Address quotes are sent to.
        phone: Purchasing department's number in international form.
        tax_id: VAT or tax number with the country prefix and without spaces.
        billing_address: Postal address of invoices with the keys street, postal_code, city and
            country_code.
        currency: Currency the customer is quoted and invoiced in.
        credit_limit: Highest sum of open invoices in the customer's currency; null means none
            was agreed.
        payment_term_days: Days from invoice to payment.
        is_active: Whether new quotes may be made.
        tags: Free labels, for example ["heat pumps", "key account"].
    """

    id: str
    name: str
    customer_number: str | None = None
    company_id: str | None = None
    account_manager_id: str | None = None
    segment: CustomerSegment = CustomerSegment.COMMERCIAL
    industry: str | None = None
    email: str | None = None
    phone: str | None = None
    tax_id: str | None = None
    billing_address: dict[str, Any] | None = None
    currency: Currency = Currency.EUR
    credit_limit: Decimal | None = None
    payment_term_days: int = 30
    is_active: bool = True
    tags: list[str] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_customers_number", "fields": ["customer_number"], "unique": True},
            {"name": "ix_customers_company_id", "fields": ["company_id"], "unique": False},
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "name": NAME,
        "customer_number": {"min_length": 1, "max_length": 40},
        "industry": SHORT_TEXT,
        "email": EMAIL,
        "phone": PHONE,
        "tax_id": TAX_ID,
        "credit_limit": NOT_NEGATIVE,
        "payment_term_days": {"range": {"min": 0, "max": 365}},
    }


@db.model
class Quote:
    """A priced offer to a customer.

    Attributes:
        id: Primary key, for example quote-2026-0001; generated when not given.
        quote_number: Number printed on the quote, for example Q-2026-0001; no two quotes share
            one, and a draft may have none yet.
        customer_id: Customer the quote is for.
        company_id: Company that makes the offer.
        owner_id: User responsible for the quote.
        title: Subject line, for example the building project.
        status: Where the quote is in its life.
        currency: Currency of all its amounts.
        line_items: Positions with the keys product_code, quantity, unit_price and total; money
            is a string, for example "129.90".
        subtotal: Sum of the positions before discount and tax.
        discount_amount: Deduction from the subtotal.
        tax_amount: Value-added tax on the discounted subtotal.
        total_amount: Sum to pay: subtotal less discount plus tax.
        valid_until: Last day the offer stands.
        sent_at: Instant the quote went to the customer.
        notes: Remarks printed below the positions.
    """

    id: str
    quote_number: str | None = None
    customer_id: str
    company_id: str | None = None
    owner_id: str | None = None
    title: str | None = None
    status: QuoteStatus = QuoteStatus.DRAFT
    currency: Currency = Currency.EUR
    line_items: list[dict[str, Any]] | None = None
    subtotal: Decimal | None = None
    discount_amount: Decimal | None = None
    tax_amount: Decimal | None = None
    total_amount: Decimal
    valid_until: date | None = None
    sent_at: datetime | None = None
    notes: str | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_quotes_number", "fields": ["quote_number"], "unique": True},
            {"name": "ix_quotes_customer_id", "fields": ["customer_id"], "unique": False},
            {
                "name": "ix_quotes_status_valid_until",
                "fields": ["status", "valid_until"],
                "unique": False,
            },
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "quote_number": {"pattern": r"^[A-Z0-9][A-Z0-9-]{2,39}$"},
        "title": {"max_length": 200},
        "subtotal": NOT_NEGATIVE,
        "discount_amount": NOT_NEGATIVE,
        "tax_amount": NOT_NEGATIVE,
        "total_amount": NOT_NEGATIVE,
        "notes": LONG_TEXT,
    }
