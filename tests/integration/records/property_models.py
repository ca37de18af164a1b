"""Models for generated data: all comparable kinds, hostile names, tenants and deleted records."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from tests.integration.records.trap_enums import Colour, Rank

Mixed = Literal["a", 10, "B", 9, "", -1]


class TrapMatter:
    """What filters and sort orders are about: each comparable kind, with nulls and without."""

    id: str
    level: int
    label: str
    price: Decimal
    kind: Mixed
    text: str | None = None
    whole: int | None = None
    real: float | None = None
    flag: bool | None = None
    moment: datetime | None = None
    day: date | None = None
    amount: Decimal | None = None
    token: UUID | None = None
    colour: Colour | None = None
    rank: Rank | None = None
    mixed: Mixed | None = None
    mark: int | None = None


class TrapKeyword:
    """A table and columns named by words of SQL, of bound parameters and of hidden columns."""

    id: str
    excluded: str
    key: str | None = None
    values: str | None = None
    default: str | None = None
    null: str | None = None
    primary: str | None = None
    table: str | None = None
    desc: str | None = None
    returning: str | None = None
    rowid: str | None = None
    id_1: str | None = None
    param_1: str | None = None
    excluded_1: str | None = None
    p0: str | None = None
    row: str | None = None
    t: str | None = None
    old: str | None = None
    new: str | None = None
    order: str | None = None
    camelCase: str | None = None  # noqa: N815 - camelCase is the trap
    case: str | None = None
    end: str | None = None
    true: bool | None = None
    x0123456789x0123456789x0123456789x0123456789x0123456789x0123456: str | None = None

    __tablename__ = "order"
    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_trap_keyword", "fields": ["excluded", "camelCase"], "unique": True},
            {"name": "uq_trap_keyword_key", "fields": ["key"], "unique": True},
        ]
    }


class TrapVault:
    """Deleted softly, with a key from the database; a place and a code are there once each."""

    shelf: str
    slot: int
    code: str | None = None
    note: str | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "soft_delete": True,
        "indexes": [
            {"name": "uq_trap_vaults_place", "fields": ["shelf", "slot"], "unique": True},
            {"name": "uq_trap_vaults_code", "fields": ["code"], "unique": True},
        ],
    }


class TrapGuest:
    """Belongs to a tenant, to whom an email is unique; a badge is unique among all tenants."""

    id: str
    email: str
    badge: str | None = None
    name: str | None = None
    visits: int = 0

    __dataflow__: ClassVar[dict[str, Any]] = {
        "multi_tenant": True,
        "indexes": [
            {"name": "uq_trap_guests_email", "fields": ["tenant_id", "email"], "unique": True},
            {"name": "uq_trap_guests_badge", "fields": ["badge"], "unique": True},
        ],
    }


class TrapTicket:
    """Belongs to a tenant, has a key from the database, and is deleted softly."""

    subject: str
    number: int

    __dataflow__: ClassVar[dict[str, Any]] = {
        "multi_tenant": True,
        "soft_delete": True,
        "indexes": [
            {"name": "uq_trap_tickets", "fields": ["tenant_id", "number"], "unique": True},
        ],
    }


PROPERTY_MODELS: tuple[type, ...] = (TrapMatter, TrapKeyword, TrapVault)
TENANT_MODELS: tuple[type, ...] = (TrapGuest, TrapTicket)
