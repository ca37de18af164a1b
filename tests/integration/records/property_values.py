"""Hypothesis strategies for rows of `TrapMatter`, and for filters and sort orders on them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from kailash_mcp_prod.records.filters import MAX_COMPARISONS

Json = dict[str, Any]
Values = st.SearchStrategy[Any]

# The same examples in every run; most of an example's time is the database's.
PROFILE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)

# Letters whose lower case is one letter in every version of Unicode that a database may follow.
LETTERS = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\x00İΣ")
HARD_TEXTS = [
    *("", " ", "%", "_", "\\", "%%", "\\%", "\\\\", "a%b", "a_b", "a\\b", "'", "''", '"', "`"),
    *(
        "a",
        "A",
        "ab",
        "aB",
        "AB",
        "ä",
        "Ä",
        "ß",
        "漢字",
        "🎉",
        "e\u0301",
        "é",
        "\ufeff",
        "\U0010ffff",
    ),
    *("null", "1", "01", "1.0", "a ", " a", "a\nb", "a\tb", "' OR 1=1 --", ":x", "$1", "?", "{}"),
]
texts: Values = st.one_of(
    st.sampled_from(HARD_TEXTS), st.text("aAbB%_\\'", max_size=5), st.text(LETTERS, max_size=6)
)
wholes: Values = st.one_of(
    st.sampled_from([0, 1, -1, 7, 9, 10, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1)
)
# At most six digits, which a column of four bytes keeps.
reals: Values = st.one_of(
    st.sampled_from([0, 0.1, 0.2, 0.3, -0.1, 1, 1.5, 1e30, -1e30, 1e-30, 16777216, -0.0]),
    st.builds(
        lambda digits, places: digits / 10**places, st.integers(-999, 999), st.integers(0, 4)
    ),
)
decimals: Values = st.one_of(
    st.sampled_from(
        [
            *(
                "1",
                "1.0",
                "1.00",
                "1e0",
                "0",
                "-0",
                "0.000",
                "1e3",
                "1000",
                "1E+3",
                "-1",
                "9",
                "10",
            ),
            *("0.1", ".1", "0.30", "1e-37", "-1e-37", "9e36", "-9e36", "1e37", "100", "99.99"),
            *("12345678901234567890123456789012345678", "0.1234567890123456789012345678901234567"),
            *("12345678901234567890123456789012345677", "0.1234567890123456789012345678901234568"),
            *(1, 0.1, -2, 2.5, 10, 0),
        ]
    ),
    st.decimals(-1000, 1000, places=2).map(str),
    st.decimals(-2, 2, places=5).map(lambda number: f"{number:e}"),
)
offsets: Values = st.integers(-56, 56).map(
    lambda quarters: timezone(timedelta(minutes=15 * quarters))
)
moments: Values = st.one_of(
    st.sampled_from(
        [
            "2026-03-01T09:30:00Z",
            "2026-03-01T11:30:00+02:00",
            "2026-02-28T23:30:00-10:00",
            "2026-03-01T09:30:00.000001Z",
            "2026-03-01T09:30:00.5Z",
            "2026-03-01T09:30:01Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "1969-12-31T23:59:59.999999Z",
        ]
    ),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets).map(  # noqa: DTZ001 - Hypothesis adds the offsets
        datetime.isoformat
    ),
)
days: Values = st.one_of(
    st.sampled_from(["2026-03-01", "2026-02-28", "2024-02-29", "0001-01-01", "9999-12-31"]),
    st.dates(date(1990, 1, 1), date(2030, 1, 1)).map(date.isoformat),
)
mixed = st.sampled_from(["a", 10, "B", 9, "", -1])

REQUIRED: dict[str, Values] = {
    "level": st.sampled_from([-1, 0, 0, 1, 2]),
    "label": texts,
    "price": decimals,
    "kind": mixed,
}
OPTIONAL: dict[str, Values] = {
    "text": texts,
    "whole": wholes,
    "real": reals,
    "flag": st.booleans(),
    "moment": moments,
    "day": days,
    "amount": decimals,
    "token": st.sampled_from(
        [
            "00000000-0000-0000-0000-000000000001",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ]
    ),
    "colour": st.sampled_from(["red", "green", "blue"]),
    "rank": st.sampled_from([1, 9, 10]),
    "mixed": mixed,
}
VALUES = REQUIRED | OPTIONAL | {"id": texts.filter(bool), "mark": st.sampled_from([1, 2, 3])}
TEXT_FIELDS = ("id", "label", "text")
UNORDERED = ("flag", "token", "colour", "rank", "mixed", "kind")
TIMESTAMPS = ("created_at", "updated_at")
SORTABLE = (*VALUES, *TIMESTAMPS)


@st.composite
def tables(draw: st.DrawFn) -> list[Json]:
    """Rows to insert, with ids that are no other row's."""
    rows = draw(
        st.lists(st.fixed_dictionaries(REQUIRED, optional=OPTIONAL), min_size=4, max_size=12)
    )
    prefixes = draw(st.lists(st.sampled_from(["r", "R", "%", "ä", ""]), min_size=len(rows)))
    return [
        {**row, "id": f"{prefix}{position}"}
        for position, (row, prefix) in enumerate(zip(rows, prefixes, strict=False))
    ]


def patterns(held: list[str]) -> Values:
    """LIKE patterns made of the letters of texts."""
    letters = sorted({letter for text in held for letter in text[:8]} | {"a"})
    parts = ["%", "%", "_", r"\%", r"\_", r"\\", r"\a"]
    parts += [r"\\" if letter == "\\" else letter for letter in letters]
    parts += ["".join(r"\\" if each == "\\" else each for each in text[:8]) for text in held]
    return st.lists(st.sampled_from(parts), max_size=4).map("".join)


def operators(field: str, records: list[Json]) -> st.SearchStrategy[Json]:
    """The operators of one field, with values that records hold and with others."""
    held = [record[field] for record in records if record[field] is not None]
    fresh = VALUES.get(field, moments)
    value = st.one_of(st.sampled_from(held), fresh) if held else fresh
    equality = {"$eq": value | st.none(), "$ne": value | st.none(), "$null": st.booleans()}
    lists = dict.fromkeys(("$in", "$nin"), st.lists(value, max_size=4))
    bounds = {} if field in UNORDERED else dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), value)
    pattern = patterns([text for text in held if isinstance(text, str)])
    searches = (
        {"$like": pattern, "$ilike": pattern, "$contains": pattern} if field in TEXT_FIELDS else {}
    )
    known = {**equality, **lists, **bounds, **searches}
    return st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: known[name] for name in names})
    )


@st.composite
def conditions(draw: st.DrawFn, records: list[Json], depth: int = 4) -> Json:
    """A filter on records as they are returned, nested at most `depth` deep."""
    made = draw(_conditions(records, depth))
    return made if _comparisons(made) <= MAX_COMPARISONS else {"id": {"$null": False}}


@st.composite
def _conditions(draw: st.DrawFn, records: list[Json], depth: int) -> Json:
    condition: Json = {}
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        kind = draw(st.sampled_from(["field"] * 4 + ["$and", "$or", "$or", "$not"]))
        if depth == 1 or kind == "field":
            field = draw(st.sampled_from((*SORTABLE, *TEXT_FIELDS, "text")))
            chosen = draw(operators(field, records))
            plain = chosen.keys() == {"$eq"} and draw(st.booleans())
            condition[field] = chosen["$eq"] if plain else chosen
        elif kind == "$not":
            condition[kind] = draw(_conditions(records, depth - 1))
        else:
            size = draw(st.integers(1, 3))
            condition[kind] = [draw(_conditions(records, depth - 1)) for _ in range(size)]
    return condition


def _comparisons(condition: Json) -> int:
    count = 0
    for name, value in condition.items():
        if name in {"$and", "$or"}:
            count += sum(map(_comparisons, value))
        elif name == "$not":
            count += _comparisons(value)
        else:
            count += len(value) if isinstance(value, dict) else 1
    return count


@st.composite
def orders(draw: st.DrawFn) -> list[str]:
    """A sort order of up to four fields."""
    names = draw(st.lists(st.sampled_from(SORTABLE), max_size=4, unique=True))
    return [draw(st.sampled_from(["", "-"])) + name for name in names]


def canonical(field: str, value: Any) -> Any:
    """A given value as it is returned."""
    if value is None:
        return None
    match field:
        case "moment":
            return datetime.fromisoformat(value).astimezone(UTC).isoformat()
        case "price" | "amount":
            return format(Decimal(repr(value) if isinstance(value, float) else value), "f")
        case "token":
            return value.lower()
        case "real":
            return float(value)
    return value
