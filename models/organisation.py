"""Companies and the people who work for them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from models.constraints import COUNT, EMAIL, NAME, NOT_NEGATIVE, PHONE, SHORT_TEXT, TAX_ID
from models.database import db
from models.enumerations import CompanyType, Currency, UserRole


@db.model
class Company:
    """A company that sells through the platform or supplies the products sold.

    Attributes:
        id: Primary key, for example company-acme; generated when not given.
        name: Trading name.
        company_type: Place in the supply chain.
        industry: Line of business, for example "HVAC" or "Electrical distribution".
        tax_id: VAT or tax number with the country prefix and without spaces, for example
            DE811907980; no two companies share one.
        country_code: Country of the registered office, ISO 3166-1 alpha-2, for example DE.
        city: City of the registered office.
        website: Home page, an http or https address.
        email: General contact address.
        phone: Switchboard number in international form.
        default_currency: Currency of new quotes.
        annual_revenue: Revenue of the last full business year in the default currency.
        employee_count: Number of employees.
        founded_on: Day of foundation.
        is_active: Whether business is done with the company at present.
        settings: Preferences of the company, for example {"quote_validity_days": 30}.
    """

    id: str
    name: str
    company_type: CompanyType = CompanyType.DISTRIBUTOR
    industry: str | None = None
    tax_id: str | None = None
    country_code: str | None = None
    city: str | None = None
    website: str | None = None
    email: str | None = None
    phone: str | None = None
    default_currency: Currency = Currency.EUR
    annual_revenue: Decimal | None = None
    employee_count: int | None = None
    founded_on: date | None = None
    is_active: bool = True
    settings: dict[str, Any] | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_companies_tax_id", "fields": ["tax_id"], "unique": True},
            {"name": "ix_companies_name", "fields": ["name"], "unique": False},
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "name": NAME,
        "industry": SHORT_TEXT,
        "tax_id": TAX_ID,
        "country_code": {"pattern": r"^[A-Z]{2}$"},
        "city": SHORT_TEXT,
        "website": {"validators": ["url"], "max_length": 500},
        "email": EMAIL,
        "phone": PHONE,
        "annual_revenue": NOT_NEGATIVE,
        "employee_count": COUNT,
    }


@db.model
class User:
    """A person who works with the application.

    Attributes:
        id: Primary key, for example user-mara; generated when not given.
        email: Address the user signs in with; no two users share one.
        name: Full name.
        company_id: Company the user works for; null for staff of the platform.
        role: What the user does in the application.
        job_title: Title on the business card.
        phone: Direct number in international form.
        locale: Language and region for texts and number formats, for example de-DE.
        permissions: Rights beyond the role, for example ["quote.approve"].
        preferences: Settings of the user interface, for example {"theme": "dark"}.
        is_active: Whether the user may sign in.
        last_login_at: Instant of the last successful sign-in.
    """

    id: str
    email: str
    name: str
    company_id: str | None = None
    role: UserRole = UserRole.VIEWER
    job_title: str | None = None
    phone: str | None = None
    locale: str = "en-GB"
    permissions: list[str] | None = None
    preferences: dict[str, Any] | None = None
    is_active: bool = True
    last_login_at: datetime | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_users_email", "fields": ["email"], "unique": True},
            {"name": "ix_users_company_id", "fields": ["company_id"], "unique": False},
        ]
    }
    __validation__: ClassVar[dict[str, Any]] = {
        "email": EMAIL,
        "name": NAME,
        "job_title": SHORT_TEXT,
        "phone": PHONE,
        "locale": {"pattern": r"^[a-z]{2}-[A-Z]{2}$"},
    }
