"""Filters and sort orders mean the same on every database, and name nothing but fields."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.filters import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    MAX_LIST_VALUES,
    MAX_PATTERN_LENGTH,
    MAX_WILDCARD_PATTERNS_LENGTH,
)
from tests.integration.records.trap_app import Json, TrapApp
from tests.integration.records.trap_oracle import ordered, truth

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Lists of coprime lengths, so that 30 records hold many combinations of them.
COLUMNS: dict[str, list[Any]] = {
    "text": [
        *(None, "", "a", "A", "ab", "aB", "a%b", "a_b", "a\\b", "ä", "Ä", "漢字", "🎉", "Z", "zz"),
        *("select from -- x", "99", "100", "null", "' OR 1=1 --", " a", "a ", "a\nb"),
    ],
    "whole": [None, -5, 0, 1, 7, 7, 2**31 - 1, -(2**31), 10, 9, 2],
    "real": [None, 0.1, 0.2, -1.5, 1e10, 0, 16777216, 0.1, 3.25, 1e-7, 100, 9.5, 99.9],
    "flag": [None, True, False],
    "moment": [
        None,
        "2026-03-01T09:30:00Z",
        "2026-03-01T11:30:00+02:00",
        "2026-03-01T09:30:00.000001Z",
        "2026-03-01T23:00:00-05:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ],
    "day": [None, "2026-03-01", "2024-02-29", "0001-01-01", "9999-12-31"],
    "amount": [
        *(None, "1.5", "1.50", "10", "9", "-2", "0.30", "1E+1", "-10", "0", "100000000000000000.1"),
        *("100000000000000000.2", "0.1", "2.675", "-0.5", "1000", "999.99"),
    ],
    "token": [
        None,
        "00000000-0000-0000-0000-000000000001",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12",
    ],
    "colour": [None, "red", "green", "blue"],
    "rank": [1, 9, 10, None, 10, 9, 1, None],
    "mode": ["on", "off", None, "off", None],
    "free": [None, {}, {"a": 1}],
    "words": [["x"], None, []],
    "blob": ["AA==", None],
}
RECORDS: list[Json] = [
    {"id": f"r{n:02}", **{name: values[n % len(values)] for name, values in COLUMNS.items()}}
    for n in range(30)
]

ORDERED = ("text", "whole", "real", "moment", "day", "amount")
COMPARABLE = (*ORDERED, "flag", "token", "colour", "rank", "mode")
# Values that no record holds, between and beyond those that they do.
OTHERS: dict[str, list[Any]] = {
    "text": ["A%", "b", "\U0010ffff"],
    "whole": [5, -6],
    "real": [0.15, 7, -2],
    "moment": ["2026-03-01T15:00:00+05:30", "2020-01-01T00:00:00+00:00"],
    "day": ["2026-02-28"],
    "amount": ["1.500", 9.5, 10, "99"],
    "token": ["ffffffff-ffff-ffff-ffff-ffffffffffff"],
}
PATTERNS = [
    *("%", "", "a", "A", "a%", "%b", "_", "__", "a_b", "a\\_b", "a\\%b", "a\\\\b", "%\\\\%", "ä"),
    *("Ä", "_字", "🎉", "%--%", "%' OR 1=1%", "%select%FROM%", "%%%", "a%%b", "[a]", "*", "a.b"),
    *("\\a", " %", "% ", "%\n%", "%'%"),
]


async def fill(app: TrapApp) -> None:
    await app.call("TrapOption", "bulk_create", data=RECORDS)


def expected_ids(condition: Json) -> list[str]:
    return [record["id"] for record in RECORDS if truth(condition, record) is True]


async def selected_ids(app: TrapApp, condition: Json) -> list[str]:
    listed = await app.call("TrapOption", "list", filter=condition, limit=1000, fields=["id"])
    return [record["id"] for record in listed["records"]]


def operands(field: str) -> list[Any]:
    held = [value for value in COLUMNS[field] if value is not None]
    return [*held, *OTHERS.get(field, [])]


@pytest.mark.parametrize("field", COMPARABLE)
async def test_equality_and_lists_select_what_they_say(app: TrapApp, field: str) -> None:
    await fill(app)
    values = operands(field)
    conditions: list[Json] = [{field: value} for value in values[::2]]
    conditions += [{field: {"$eq": value}} for value in values[1::4]]
    conditions += [{field: {"$ne": value}} for value in values[::3]]
    conditions += [
        {field: {operator: values[start:stop]}}
        for operator in ("$in", "$nin")
        for start, stop in ((0, 1), (0, 3), (1, 9), (0, 0), (0, len(values)))
    ]
    for condition in conditions:
        assert await selected_ids(app, condition) == expected_ids(condition), condition


@pytest.mark.parametrize("field", ORDERED)
async def test_bounds_select_what_they_say(app: TrapApp, field: str) -> None:
    await fill(app)
    values = operands(field)
    conditions: list[Json] = [
        {field: {operator: value}}
        for operator in ("$gt", "$gte", "$lt", "$lte")
        for value in values
    ]
    conditions += [
        {field: {"$gte": low, "$lt": high}} for low in values[:4] for high in values[3:7]
    ]
    for condition in conditions:
        assert await selected_ids(app, condition) == expected_ids(condition), condition


@pytest.mark.parametrize("field", COLUMNS)
async def test_nulls_are_selected_by_asking_for_them_and_not_otherwise(
    app: TrapApp, field: str
) -> None:
    await fill(app)
    nulls = [record["id"] for record in RECORDS if record[field] is None]
    others = [record["id"] for record in RECORDS if record[field] is not None]
    cases: list[tuple[Json, list[str]]] = [
        ({field: None}, nulls),
        ({field: {"$null": True}}, nulls),
        ({field: {"$null": False}}, others),
        ({field: {"$eq": None}}, nulls),
        ({field: {"$ne": None}}, others),
        ({"$not": {field: {"$null": True}}}, others),
        ({"$not": {field: {"$null": False}}}, nulls),
        ({field: {"$null": True, "$ne": None}}, []),
    ]
    for condition, ids in cases:
        assert await selected_ids(app, condition) == ids, condition


@pytest.mark.parametrize("operator", ["$like", "$ilike", "$contains"])
async def test_patterns_select_what_they_say(app: TrapApp, operator: str) -> None:
    await fill(app)
    for pattern in PATTERNS:
        for condition in ({"text": {operator: pattern}}, {"$not": {"text": {operator: pattern}}}):
            assert await selected_ids(app, condition) == expected_ids(condition), condition


async def test_the_key_and_the_timestamps_are_filtered_like_other_fields(app: TrapApp) -> None:
    await fill(app)
    for condition in (
        {"id": {"$gt": "r10", "$lte": "r20"}},
        {"id": {"$in": ["r01", "nope", "r05"]}},
        {"id": {"$nin": ["r01"]}, "text": {"$ilike": "A%"}},
        {"id": {"$like": "r1%"}},
        {"id": {"$gt": "r10", "$lt": "r25"}, "amount": {"$gt": 1}},
        {"$and": [{"id": {"$gt": "r05"}}, {"id": {"$gt": "r10"}}, {"text": {"$contains": "a"}}]},
        {"$or": [{"id": "r03"}, {"id": {"$gte": "r28"}}]},
    ):
        assert await selected_ids(app, condition) == expected_ids(condition), condition
    everybody = [record["id"] for record in RECORDS]
    assert await selected_ids(app, {"created_at": {"$gt": "2020-01-01T00:00:00Z"}}) == everybody
    assert await selected_ids(app, {"updated_at": {"$lt": "2020-01-01T00:00:00Z"}}) == []


async def test_a_count_counts_what_a_list_would_return(app: TrapApp) -> None:
    await fill(app)
    for condition in ({}, {"flag": True}, {"amount": {"$gte": "1"}}, {"$not": {"text": "a"}}):
        counted = await app.call("TrapOption", "count", filter=condition)
        listed = await app.call("TrapOption", "list", filter=condition, include_total=True, limit=1)
        assert counted["count"] == listed["total"] == len(expected_ids(condition))


async def test_an_absent_and_an_empty_filter_select_everything(app: TrapApp) -> None:
    await fill(app)

    assert len((await app.call("TrapOption", "list", limit=1000))["records"]) == 30
    assert len(await selected_ids(app, {})) == 30


LOGIC: list[Json] = [
    {"$and": [{"flag": True}, {"whole": {"$gt": 0}}]},
    {"$or": [{"flag": True}, {"whole": {"$gt": 0}}]},
    {"$not": {"whole": {"$gt": 0}}},
    {"$not": {"$not": {"whole": {"$gt": 0}}}},
    {"$not": {"$and": [{"flag": True}, {"whole": {"$gt": 0}}]}},
    {"$not": {"$or": [{"flag": True}, {"whole": {"$gt": 0}}]}},
    {"$not": {"flag": True, "whole": {"$gt": 0}}},
    {"$or": [{"whole": None}, {"$not": {"whole": {"$in": [7, 0]}}}]},
    {"$not": {"whole": {"$nin": [7, 0]}}},
    {"$not": {"whole": {"$in": []}}},
    {"$not": {"whole": {"$nin": []}}},
    {"whole": {"$in": [], "$nin": []}},
    {"whole": 7, "$or": [{"text": "a"}, {"text": {"$null": True}}], "$not": {"flag": False}},
    {"$and": [{"whole": {"$gt": 0}}, {"whole": {"$gt": 5}}, {"whole": {"$lt": 10}}]},
    {"$and": [{"whole": {"$ne": 7}}, {"whole": {"$ne": 9}}], "whole": {"$ne": 10}},
    {"$and": [{"$and": [{"$and": [{"$and": [{"flag": True}]}]}]}]},
    {"$or": [{"$and": [{"flag": True}, {"flag": False}]}, {"amount": {"$lt": 0}}]},
]


@pytest.mark.parametrize("condition", LOGIC)
async def test_conditions_are_combined_in_three_valued_logic(app: TrapApp, condition: Json) -> None:
    await fill(app)

    assert await selected_ids(app, condition) == expected_ids(condition)


def random_condition(source: random.Random, depth: int) -> Json:
    """A condition of up to three terms, nested at most `depth` deep."""
    condition: Json = {}
    for _ in range(source.choice((1, 1, 2, 3))):
        kind = source.random()
        if depth > 1 and kind < 0.2:
            parts = [random_condition(source, depth - 1) for _ in range(source.choice((1, 2, 3)))]
            condition[source.choice(("$and", "$or"))] = parts
        elif depth > 1 and kind < 0.35:
            condition["$not"] = random_condition(source, depth - 1)
        else:
            field = source.choice(COMPARABLE)
            condition[field] = random_operators(source, field)
    return condition


def random_operators(source: random.Random, field: str) -> Any:
    values = operands(field)
    choices: list[Any] = [
        source.choice([*values, None]),
        {"$null": source.choice((True, False))},
        {"$ne": source.choice([*values, None])},
        {source.choice(("$in", "$nin")): source.sample(values, source.randint(0, 2))},
    ]
    if field in ORDERED:
        bound = source.choice(("$gt", "$gte", "$lt", "$lte"))
        choices.append({bound: source.choice(values), "$ne": source.choice(values)})
    if field == "text":
        choices.append({source.choice(("$like", "$ilike", "$contains")): source.choice(PATTERNS)})
    return source.choice(choices)


@pytest.mark.parametrize("seed", range(4))
async def test_random_filters_and_orders_select_what_they_say(app: TrapApp, seed: int) -> None:
    await fill(app)
    source = random.Random(seed)
    for _ in range(30):
        condition = random_condition(source, depth=4)
        names = source.sample(COMPARABLE, source.randint(0, 3))
        sort = [source.choice(("", "-")) + name for name in names]
        matching = [record for record in RECORDS if truth(condition, record) is True]

        listed = await app.call(
            "TrapOption", "list", filter=condition, sort=sort, limit=20, include_total=True
        )

        ids = [record["id"] for record in listed["records"]]
        assert ids == ordered(matching, sort)[:20], (condition, sort)
        assert listed["total"] == len(matching), condition


@pytest.mark.parametrize("field", COMPARABLE)
@pytest.mark.parametrize("sign", ["", "-"])
async def test_a_sort_order_puts_nulls_last_and_breaks_ties_by_id(
    app: TrapApp, field: str, sign: str
) -> None:
    await fill(app)
    for sort in ([sign + field], ["flag", sign + field], [sign + field, "-id"]):
        if len({item.removeprefix("-") for item in sort}) == len(sort):
            listed = await app.call("TrapOption", "list", sort=sort, limit=1000, fields=["id"])
            ids = [record["id"] for record in listed["records"]]
            assert ids == ordered(RECORDS, sort), sort


async def test_required_fields_and_the_key_sort_in_either_direction(app: TrapApp) -> None:
    rows = [{"order": n % 3, "group": f"g{n}", "createdBy": str(n)} for n in range(9)]
    made = await app.call("TrapReserved", "bulk_create", data=rows)
    records = [{**row, "id": key} for row, key in zip(rows, made["ids"], strict=True)]
    for sort in (["order"], ["-order", "group"], ["-group"], ["-id"], ["id"], ["-createdBy"]):
        listed = await app.call("TrapReserved", "list", sort=sort)
        assert [each["id"] for each in listed["records"]] == ordered(records, sort), sort


INJECTIONS = [
    'id" IS NULL OR "id',
    'id" IS NULL OR "id',
    "id = id OR id",
    "id; DROP TABLE trap_options; --",
    "id' OR '1'='1",
    "(SELECT 1)",
    "id) OR (1=1",
    'id" IS NULL OR (SELECT count(*) FROM trap_samples) = 0 OR "id',
    "id--",
    "id/**/",
    "trap_options.id",
    '"id"',
    "`id`",
    "[id]",
    "ID",
    " id",
    "id\x00",
    "rowid",
    "oid",
    "ctid",
    "deleted_at",
    "tenant_id",
    "*",
    "",
    "free.a",
    "__class__",
    "x" * 10_000,
    "\ud800",
]


@pytest.mark.parametrize(
    "operation", ["list", "count", "bulk_update", "bulk_delete", "list, nested", "list, operator"]
)
async def test_a_filter_names_nothing_but_fields(app: TrapApp, operation: str) -> None:
    await app.call("TrapOption", "create", data={"id": "r", "text": "secret"})
    more = {"data": {"text": "x"}} if operation == "bulk_update" else {}
    for name in INJECTIONS:
        filters: list[Json] = [
            {name: {"$null": True}},
            {name: {"$ne": "x"}},
            {name: "x"},
            {name: {}},
        ]
        if operation == "list, nested":
            filters = [{"$or": [{"id": "r"}, {"$not": each}]} for each in filters]
        if operation == "list, operator":
            filters = [{"id": {name: "x"}}, {"id": {f"${name}": "x"}}, {f"${name}": [{"id": "x"}]}]
        for condition in filters:
            error = await app.refusal(
                "TrapOption", operation.partition(",")[0], filter=condition, **more
            )

            assert isinstance(error, InvalidArgumentsError), condition
            assert error.field is not None
            assert error.field.startswith("filter.")
            assert len(error.message) < 1000
            json.dumps(error.to_dict("r"), ensure_ascii=False).encode()


async def test_a_sort_order_and_a_choice_of_fields_name_nothing_but_fields(app: TrapApp) -> None:
    for name in INJECTIONS:
        for arguments, where in [
            ({"sort": [name]}, "sort[0]"),
            ({"sort": ["id", f"-{name}"]}, "sort[1]"),
            ({"sort": [f"{name} DESC"]}, "sort[0]"),
            ({"fields": ["id", name]}, "fields[1]"),
        ]:
            error = await app.refusal("TrapOption", "list", **arguments)

            assert isinstance(error, InvalidArgumentsError), arguments
            assert error.field == where
            json.dumps(error.to_dict("r"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("sort", "where"),
    [
        (["text", "-text"], "sort[1]"),
        (["text", "text"], "sort[1]"),
        (["--text"], "sort[0]"),
        (["+text"], "sort[0]"),
        (["text desc"], "sort[0]"),
        (["free"], "sort[0]"),
        (["words"], "sort[0]"),
        (["blob"], "sort[0]"),
        (["text", "whole", "real", "day", "moment", "amount"], "sort"),
        ([1], "sort[0]"),
        ([None], "sort[0]"),
        ([["text"]], "sort[0]"),
    ],
)
async def test_a_wrong_sort_order_is_refused(app: TrapApp, sort: list[Any], where: str) -> None:
    error = await app.refusal("TrapOption", "list", sort=sort)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == where


WRONG: list[tuple[Json, str]] = [
    ({"text": {}}, "filter.text"),
    ({"text": 5}, "filter.text"),
    ({"text": ["a"]}, "filter.text"),
    ({"text": True}, "filter.text"),
    ({"text": "a\x00"}, "filter.text"),
    ({"text": "\ud800"}, "filter.text"),
    ({"text": {"$eq": {"$gt": ""}}}, "filter.text.$eq"),
    ({"text": {"$in": "a"}}, "filter.text.$in"),
    ({"text": {"$in": ["a", 1]}}, "filter.text.$in[1]"),
    ({"text": {"$in": ["a", None]}}, "filter.text.$in[1]"),
    ({"text": {"$in": None}}, "filter.text.$in"),
    ({"text": {"$gt": None}}, "filter.text.$gt"),
    ({"text": {"$null": None}}, "filter.text.$null"),
    ({"text": {"$null": 1}}, "filter.text.$null"),
    ({"text": {"$null": "true"}}, "filter.text.$null"),
    ({"text": {"$like": 5}}, "filter.text.$like"),
    ({"text": {"$like": None}}, "filter.text.$like"),
    ({"text": {"$like": "a\\"}}, "filter.text.$like"),
    ({"text": {"$ilike": "a\\\\\\"}}, "filter.text.$ilike"),
    ({"text": {"$regex": ".*"}}, "filter.text.$regex"),
    ({"text": {"$exists": True}}, "filter.text.$exists"),
    ({"text": {"$not": {"$eq": "a"}}}, "filter.text.$not"),
    ({"text": {"eq": "a"}}, "filter.text.eq"),
    ({"whole": "7"}, "filter.whole"),
    ({"whole": 2.5}, "filter.whole"),
    ({"whole": True}, "filter.whole"),
    ({"whole": {"$gt": 2**31}}, "filter.whole.$gt"),
    ({"whole": {"$like": "7"}}, "filter.whole.$like"),
    ({"real": {"$lt": float("nan")}}, "filter.real.$lt"),
    ({"real": {"$lt": float("inf")}}, "filter.real.$lt"),
    ({"real": "0.1"}, "filter.real"),
    ({"flag": 1}, "filter.flag"),
    ({"flag": "true"}, "filter.flag"),
    ({"flag": {"$gt": False}}, "filter.flag.$gt"),
    ({"moment": "2026-03-01"}, "filter.moment"),
    ({"moment": {"$gt": "2026-03-01T00:00:00"}}, "filter.moment.$gt"),
    ({"moment": {"$like": "2026%"}}, "filter.moment.$like"),
    ({"day": {"$gt": "2026-02-30"}}, "filter.day.$gt"),
    ({"amount": {"$gt": "NaN"}}, "filter.amount.$gt"),
    ({"amount": {"$in": ["1", "x"]}}, "filter.amount.$in[1]"),
    ({"token": {"$gt": "00000000-0000-0000-0000-000000000001"}}, "filter.token.$gt"),
    ({"token": "x"}, "filter.token"),
    ({"colour": "purple"}, "filter.colour"),
    ({"colour": {"$in": ["red", "Red"]}}, "filter.colour.$in[1]"),
    ({"rank": "10"}, "filter.rank"),
    ({"rank": True}, "filter.rank"),
    ({"free": {"a": 1}}, "filter.free.a"),
    ({"free": {"$eq": {}}}, "filter.free.$eq"),
    ({"words": ["x"]}, "filter.words"),
    ({"words": {"$contains": "x"}}, "filter.words.$contains"),
    ({"blob": "AA=="}, "filter.blob"),
    ({"$and": {}}, "filter.$and"),
    ({"$and": []}, "filter.$and"),
    ({"$or": [{"text": "a"}, "text"]}, "filter.$or[1]"),
    ({"$or": [[]]}, "filter.$or[0]"),
    ({"$not": [{"text": "a"}]}, "filter.$not"),
    ({"$not": None}, "filter.$not"),
    ({"$nor": [{"text": "a"}]}, "filter.$nor"),
    ({"$gt": 5}, "filter.$gt"),
    ({"$where": "1=1"}, "filter.$where"),
    ({"$or": [{"$and": [{"text": {"$in": [1]}}]}]}, "filter.$or[0].$and[0].text.$in[0]"),
]


@pytest.mark.parametrize(("condition", "where"), WRONG)
async def test_a_wrong_filter_is_refused_and_the_place_named(
    app: TrapApp, condition: Json, where: str
) -> None:
    for operation in ("list", "count", "bulk_delete"):
        error = await app.refusal("TrapOption", operation, filter=condition)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field == where


def deep(levels: int) -> Json:
    condition: Json = {"text": "a"}
    for _ in range(levels - 1):
        condition = {"$and": [condition]}
    return condition


async def test_a_filter_is_bounded_in_every_direction(app: TrapApp) -> None:
    await fill(app)
    many = [{"whole": number} for number in range(MAX_COMPARISONS + 1)]
    texts = [f"t{number}" for number in range(MAX_LIST_VALUES + 1)]
    text = "x" * (MAX_PATTERN_LENGTH + 1)
    half = "%" * (MAX_WILDCARD_PATTERNS_LENGTH // 2)
    lists = {"text": {"$in": texts[:-1], "$nin": texts[:-1]}, "id": {"$in": texts[:-1]}}
    for good, bad in [
        (deep(MAX_DEPTH), deep(MAX_DEPTH + 1)),
        (deep(MAX_DEPTH), deep(500)),
        ({"$or": many[:-1]}, {"$or": many}),
        (
            {"$not": {"$and": [{"$or": many[:25]}, {"$or": many[25:-1]}]}},
            {"$and": [{"$or": many[:25]}, {"$or": many[25:]}]},
        ),
        ({"text": {"$in": texts[:-1]}}, {"text": {"$in": texts}}),
        ({"text": lists["text"]}, lists),
        ({"text": {"$like": half * 2}}, {"text": {"$like": half * 2 + "%"}}),
        (
            {"$or": [{"text": {"$like": half}}, {"text": {"$ilike": half}}]},
            {"$or": [{"text": {"$like": half}}, {"text": {"$ilike": half + "%"}}]},
        ),
        ({"text": {"$contains": text[:-1]}}, {"text": {"$contains": text}}),
    ]:
        assert await selected_ids(app, good) == expected_ids(good)
        assert isinstance(
            await app.refusal("TrapOption", "list", filter=bad), InvalidArgumentsError
        )


async def test_a_pattern_with_many_wildcards_is_matched_in_no_time(app: TrapApp) -> None:
    await app.call("TrapOption", "create", data={"id": "r", "text": "a" * 20_000 + "b"})

    for operator in ("$like", "$ilike"):
        assert await selected_ids(app, {"text": {operator: "%a" * 30 + "%c"}}) == []
