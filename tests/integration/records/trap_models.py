"""Models made to trip a data layer: every type, awkward names, and each option that matters."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

from tests.integration.records.property_models import PROPERTY_MODELS, TENANT_MODELS
from tests.integration.records.trap_enums import Colour, Rank


class TrapSample:
    """One required field of every supported type.

    Attributes:
        text: Any text.
        whole: A whole number.
    """

    id: str
    text: str
    whole: int
    real: float
    flag: bool
    moment: datetime
    day: date
    amount: Decimal
    token: UUID
    colour: Colour
    rank: Rank
    mode: Literal["on", "off"]
    free: dict  # type: ignore[type-arg]
    things: list  # type: ignore[type-arg]
    words: list[str]
    amounts: list[Decimal]
    anything: dict[str, Any]
    tallies: dict[str, int]
    blob: bytes


class TrapOption:
    """The same types, each of which may be null; the columns that filters are tried on."""

    id: str
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
    mode: Literal["on", "off"] | None = None
    free: dict | None = None  # type: ignore[type-arg]
    things: list | None = None  # type: ignore[type-arg]
    words: list[str] | None = None
    amounts: list[Decimal] | None = None
    anything: dict[str, Any] | None = None
    tallies: dict[str, int] | None = None
    blob: bytes | None = None


class TrapDefault:
    """Defaults of every kind that DataFlow can write into a table."""

    id: str
    text: str = "select from -- x"
    whole: int = 7
    real: float = 0.1
    flag: bool = True
    amount: Decimal = Decimal("1.50")
    colour: Colour = Colour.GREEN
    rank: Rank = Rank.HIGHEST
    mode: Literal["on", "off"] = "off"
    note: str | None = None


class TrapCounter:
    """The database makes the key; each label is there once."""

    label: str
    value: int = 0

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [{"name": "uq_trap_counters_label", "fields": ["label"], "unique": True}]
    }


class TrapPlain:
    """The database makes the key, and nothing else identifies a record."""

    label: str


class TrapReserved:
    """Columns whose names are words of SQL, or need quotes."""

    id: str
    order: int
    group: str
    select: str | None = None
    where: str | None = None
    user: str | None = None
    limit: int | None = None
    offset: int | None = None
    createdBy: str | None = None  # noqa: N815 - camelCase is the trap

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [{"name": "uq_trap_reserved", "fields": ["order", "group"], "unique": True}]
    }


class TrapWords:
    """Columns named like parameters and results of nodes, or attributes of pydantic models."""

    id: str
    success: bool
    error: str
    data: str | None = None
    filter: str | None = None
    fields: str | None = None
    json: str | None = None
    copy: str | None = None
    model_config: str | None = None
    validate: str | None = None
    name: str | None = None
    type: str | None = None
    title: str | None = None
    sort: str | None = None
    ids: str | None = None
    conditions: str | None = None
    record_id: str | None = None
    updated: bool | None = None
    deleted: bool | None = None
    count: int | None = None
    records: str | None = None
    model: str | None = None
    operation: str | None = None
    parameters: str | None = None
    node_id: str | None = None
    tenant_id: str | None = None
    metadata: str | None = None
    config: str | None = None
    where: str | None = None
    create: str | None = None
    update: str | None = None


class TrapUpserted:
    """A field with the name by which an upsert reports, and one that must not be null."""

    id: str
    created: str
    never_null: str | None


class TrapVerdict:
    """A key from the database, and the words by which DataFlow reports a failure."""

    success: bool
    error: str | None = None


class TrapLedger:
    """Append-only."""

    id: str
    entry: str
    amount: int = 0


class TrapArchive:
    """Deleted softly; each code is there once."""

    id: str
    code: str
    note: str | None = None

    __dataflow__: ClassVar[dict[str, Any]] = {
        "soft_delete": True,
        "indexes": [{"name": "uq_trap_archives_code", "fields": ["code"], "unique": True}],
    }


class TrapSeat:
    """Recognised by row and number together, or by its code."""

    id: str
    row: str
    number: int
    code: str | None = None
    guest: str | None = None
    price: Decimal = Decimal("10.00")

    __dataflow__: ClassVar[dict[str, Any]] = {
        "indexes": [
            {"name": "uq_trap_seats_place", "fields": ["row", "number"], "unique": True},
            {"name": "uq_trap_seats_code", "fields": ["code"], "unique": True},
        ]
    }


class TrapRuled:
    """Fields with rules."""

    id: str
    name: str
    email: str | None = None
    site: str | None = None
    phone: str | None = None
    code: str | None = None
    size: str | None = None
    share: float | None = None
    stock: int | None = None
    price: Decimal | None = None
    tags: list[str] | None = None
    even: int | None = None
    shout: str | None = None

    __validation__: ClassVar[dict[str, Any]] = {
        "name": {"min_length": 2, "max_length": 10},
        "email": {"validators": ["email"]},
        "site": {"validators": ["url"]},
        "phone": {"validators": ["phone"]},
        "code": {"pattern": "[A-Z]{2}|[0-9]{4}"},
        "size": {"one_of": ["S", "M", "L"]},
        "share": {"range": {"min": 0, "max": 1}},
        "stock": {"range": {"min": 0}},
        "price": {"range": {"min": 0, "max": 1000}},
        "tags": {"max_length": 3},
        "even": {"custom": lambda value: value % 2 == 0},
        "shout": {"custom": str.isupper},
    }


PLAIN_MODELS: tuple[type, ...] = (
    TrapSample,
    TrapOption,
    TrapDefault,
    TrapCounter,
    TrapPlain,
    TrapReserved,
    TrapWords,
    TrapUpserted,
    TrapVerdict,
    TrapArchive,
    TrapSeat,
    TrapRuled,
    *PROPERTY_MODELS,
    *TENANT_MODELS,
)
APPEND_ONLY_MODELS: tuple[type, ...] = (TrapLedger,)
