"""What goes in comes out, and what can't be stored is refused, in every write operation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from tests.integration.records.trap_app import TrapApp
from tests.integration.records.trap_values import (
    BAD,
    BASE,
    GOOD,
    LONE_SURROGATE,
    TEXTS,
    good_rows,
)
from tests.integration.records.trap_writes import WRITES, written_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

writes = pytest.mark.parametrize("write", WRITES)


def exactly(value: Any) -> str:
    """The value as JSON text, which tells true from 1 and 1 from 1.0."""
    return json.dumps(value, sort_keys=True)


async def two_records(app: TrapApp, model: str) -> list[str]:
    made = await app.call(model, "bulk_create", data=[BASE, BASE])
    ids: list[str] = made["ids"]
    return ids


@pytest.mark.parametrize(
    ("model", "write"),
    [
        *(("TrapSample", write) for write in WRITES),
        ("TrapOption", "create"),
        ("TrapOption", "update"),
    ],
)
async def test_every_good_value_comes_back_as_it_was_given(
    app: TrapApp, model: str, write: str
) -> None:
    how = WRITES[write]
    ids = await two_records(app, model)
    stored = {}
    for given, returned in good_rows():
        result = await app.call(model, how.operation, **how.arguments(BASE, given, ids))
        key = written_id(result)
        read = stored[key] = await app.call(model, "read", id=key)

        assert {name: exactly(read[name]) for name in returned} == {
            name: exactly(value) for name, value in returned.items()
        }
        if "ids" not in result:
            assert {name: value for name, value in result.items() if name != "created"} == read
    listed = await app.call(model, "list", filter={"id": {"$in": list(stored)}}, limit=1000)
    assert {record["id"]: record for record in listed["records"]} == stored


@writes
async def test_every_optional_field_takes_null(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    ids = await two_records(app, "TrapOption")
    nulls = dict.fromkeys(GOOD)

    result = await app.call("TrapOption", how.operation, **how.arguments(BASE, nulls, ids))

    read = await app.call("TrapOption", "read", id=written_id(result))
    assert {name: read[name] for name in GOOD} == nulls


@writes
async def test_a_bad_value_is_refused_and_its_field_named(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    ids = await two_records(app, "TrapSample")
    cases = [(field, *case) for field, bad in BAD.items() for case in [*bad, (None, "")]]
    for field, value, below in cases:
        arguments = how.arguments(BASE, {field: value}, ids)
        error = await app.refusal("TrapSample", how.operation, **arguments)

        assert isinstance(error, InvalidArgumentsError), (field, value, error)
        assert error.field == f"{how.path}.{field}{below}", value
        json.dumps(error.to_dict("r"), ensure_ascii=False, allow_nan=False).encode()


UNKNOWN_NAMES = [
    "nope",
    "Text",
    "created_at",
    "updated_at",
    "deleted_at",
    "tenant_id",
    "database_url",
    "rows_affected",
    "success",
    "filter",
    'text" = NULL --',
    "",
    "select from -- x",
    "x" * 1000,
]


@writes
async def test_an_unknown_or_protected_field_is_refused_and_named(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    ids = await two_records(app, "TrapSample")
    for name in UNKNOWN_NAMES:
        arguments = how.arguments(BASE, {name: BASE["moment"]}, ids)
        error = await app.refusal("TrapSample", how.operation, **arguments)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field == f"{how.path}.{name[:100]}"
        assert error.details is not None
        assert error.details["known_fields"] == ["id", *GOOD]


@writes
async def test_a_field_name_that_is_no_text_is_refused(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    ids = await two_records(app, "TrapSample")

    error = await app.refusal(
        "TrapSample", how.operation, **how.arguments(BASE, {LONE_SURROGATE: 1}, ids)
    )

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == how.path
    json.dumps(error.to_dict("r"), ensure_ascii=False).encode()


@pytest.mark.parametrize("write", [name for name, how in WRITES.items() if how.is_new])
async def test_a_missing_required_field_is_refused_and_named(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    for field in GOOD:
        arguments = how.arguments(BASE, {}, [])
        row = {name: value for name, value in BASE.items() if name != field}
        arguments["data"] = [BASE, row] if isinstance(arguments["data"], list) else row

        error = await app.refusal("TrapSample", how.operation, **arguments)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field == f"{how.path}.{field}"


async def test_a_new_record_gets_an_id_and_the_defaults(app: TrapApp) -> None:
    created = await app.call("TrapDefault", "create", data={})

    defaults = {
        "text": "select from -- x",
        "whole": 7,
        "real": 0.1,
        "flag": True,
        "amount": "1.50",
        "colour": "green",
        "rank": 10,
        "mode": "off",
        "note": None,
    }
    assert {name: exactly(created[name]) for name in defaults} == {
        name: exactly(value) for name, value in defaults.items()
    }
    assert len(created["id"]) == 32
    assert created["created_at"].endswith("+00:00")
    assert await app.call("TrapDefault", "read", id=created["id"]) == created


async def test_each_row_of_a_bulk_create_keeps_its_own_fields_and_gets_its_own_defaults(
    app: TrapApp,
) -> None:
    rows = [{"whole": 1}, {"text": "b", "note": "only here"}, {}]

    made = await app.call("TrapDefault", "bulk_create", data=rows)

    records = [await app.call("TrapDefault", "read", id=key) for key in made["ids"]]
    assert [(each["whole"], each["text"], each["note"]) for each in records] == [
        (1, "select from -- x", None),
        (7, "b", "only here"),
        (7, "select from -- x", None),
    ]


async def test_a_given_null_is_not_a_default(app: TrapApp) -> None:
    error = await app.refusal("TrapDefault", "create", data={"whole": None})

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "data.whole"


@pytest.mark.parametrize("key", [*(text for text in TEXTS if 0 < len(text) <= 255), "x" * 255])
async def test_any_text_of_1_to_255_characters_is_a_key(app: TrapApp, key: str) -> None:
    await app.call("TrapOption", "create", data={"id": key, "whole": 1})
    updated = await app.call("TrapOption", "update", id=key, data={"whole": 2})
    listed = await app.call("TrapOption", "list", filter={"id": {"$in": [key]}})

    assert (updated["id"], updated["whole"]) == (key, 2)
    assert listed["records"] == [await app.call("TrapOption", "read", id=key)]
    assert await app.call("TrapOption", "delete", id=key) == {"id": key, "deleted": True}
    assert app.tables.rows("TrapOption") == []


BAD_TEXT_KEYS: list[Any] = ["", None, 5, True, {"a": 1}, ["x"], "x" * 256, "a\x00b", "\ud800"]
BAD_WHOLE_KEYS: list[Any] = [1.9, True, "1", "abc", None, 2**31, 10**30, [], {}]


@pytest.mark.parametrize(
    ("model", "keys"), [("TrapOption", BAD_TEXT_KEYS), ("TrapCounter", BAD_WHOLE_KEYS)]
)
@pytest.mark.parametrize("operation", ["read", "update", "delete"])
async def test_a_key_of_a_wrong_type_is_refused(
    app: TrapApp, model: str, keys: list[Any], operation: str
) -> None:
    await app.call(model, "create", data={"label": "x"} if model == "TrapCounter" else {})
    data = {"label": "y"} if model == "TrapCounter" else {"whole": 1}
    for key in keys:
        arguments = {"id": key, "data": data} if operation == "update" else {"id": key}
        error = await app.refusal(model, operation, **arguments)

        assert isinstance(error, InvalidArgumentsError), key
        assert error.field == "id"


async def test_a_key_is_compared_exactly(app: TrapApp) -> None:
    await app.call("TrapOption", "create", data={"id": "Key"})
    for other in ("key", "KEY", "Key ", " Key", "K%", "K_y", "' OR 1=1 --", "Ke\u0301y"):
        error = await app.refusal("TrapOption", "delete", id=other)

        assert isinstance(error, NotFoundError)


async def test_the_key_of_a_generated_id_model_can_not_be_chosen(app: TrapApp) -> None:
    error = await app.refusal("TrapCounter", "create", data={"id": 5, "label": "x"})

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == "data.id"


RULE_BREAKS: list[tuple[str, Any, str]] = [
    ("name", "x", ""),
    ("name", "x" * 11, ""),
    ("email", "nobody", ""),
    ("site", "javascript:alert(1)", ""),
    ("phone", "call me", ""),
    ("code", "XDE", ""),
    ("code", "DE\n", ""),
    ("code", "12345", ""),
    ("size", "XL", ""),
    ("share", 1.01, ""),
    ("share", -0.01, ""),
    ("stock", -1, ""),
    ("price", "-0.01", ""),
    ("price", "1000.01", ""),
    ("tags", ["a", "b", "c", "d"], ""),
    ("even", 3, ""),
    ("shout", "hello", ""),
]
RULE_KEEPERS: dict[str, Any] = {
    "name": "x" * 10,
    "email": "a@example.com",
    "site": "https://example.com/x",
    "phone": "+49 40 5550100",
    "code": "DE",
    "size": "L",
    "share": 1,
    "stock": 0,
    "price": "1000.00",
    "tags": ["a", "b", "c"],
    "even": 4,
    "shout": "HEL\nLO",
}


@writes
async def test_the_rules_of_a_model_hold_in_every_write(app: TrapApp, write: str) -> None:
    how = WRITES[write]
    base = {"name": "base"}
    ids = (await app.call("TrapRuled", "bulk_create", data=[base, base]))["ids"]
    for field, value, below in RULE_BREAKS:
        arguments = how.arguments(base, {field: value}, ids)
        error = await app.refusal("TrapRuled", how.operation, **arguments)

        assert isinstance(error, InvalidArgumentsError), (field, value)
        assert error.field == f"{how.path}.{field}{below}"
    result = await app.call("TrapRuled", how.operation, **how.arguments(base, RULE_KEEPERS, ids))
    read = await app.call("TrapRuled", "read", id=written_id(result))
    assert {name: read[name] for name in RULE_KEEPERS} == RULE_KEEPERS


async def test_absent_optional_fields_break_no_rule(app: TrapApp) -> None:
    created = await app.call("TrapRuled", "create", data={"name": "only"})

    assert await app.call("TrapRuled", "update", id=created["id"], data={"stock": 3})


WORDS: dict[str, Any] = {
    "success": False,
    "error": "boom",
    "data": "d",
    "filter": "f",
    "fields": "f",
    "json": "j",
    "copy": "c",
    "model_config": "m",
    "validate": "v",
    "name": "n",
    "type": "t",
    "title": "t",
    "sort": "s",
    "ids": "i",
    "conditions": "c",
    "record_id": "r",
    "updated": False,
    "deleted": True,
    "count": 3,
    "records": "r",
    "model": "m",
    "operation": "o",
    "parameters": "p",
    "node_id": "n",
    "tenant_id": "t",
    "metadata": "m",
    "config": "c",
    "where": "w",
    "create": "c",
    "update": "u",
}
RESERVED: dict[str, Any] = {
    "order": 1,
    "group": "g",
    "select": "s",
    "where": "w",
    "user": "u",
    "limit": 5,
    "offset": 6,
    "createdBy": "me",
}


@writes
@pytest.mark.parametrize(("model", "row"), [("TrapWords", WORDS), ("TrapReserved", RESERVED)])
async def test_fields_may_be_called_like_words_of_sql_and_of_nodes(
    app: TrapApp, model: str, row: dict[str, Any], write: str
) -> None:
    how = WRITES[write]
    others = [
        {**row, **({"order": 7 + n} if model == "TrapReserved" else {"success": True})}
        for n in range(3)
    ]
    ids = (await app.call(model, "bulk_create", data=others[:2]))["ids"]
    arguments = how.arguments(others[2], row, ids)

    result = await app.call(model, how.operation, **arguments)

    read = await app.call(model, "read", id=written_id(result))
    assert {name: read[name] for name in row} == row
    for name, value in row.items():
        found = await app.call(model, "list", filter={name: value}, sort=[f"-{name}"])
        assert written_id(result) in [each["id"] for each in found["records"]]


async def test_a_field_called_success_does_not_pass_for_a_report(app: TrapApp) -> None:
    created = await app.call("TrapVerdict", "create", data={"success": False, "error": "boom"})

    assert (created["success"], created["error"]) == (False, "boom")
    assert await app.call("TrapVerdict", "read", id=created["id"]) == created


async def test_an_optional_field_without_a_default_must_not_be_null(app: TrapApp) -> None:
    row = {"created": "yesterday", "never_null": "x"}
    made = await app.call("TrapUpserted", "create", data=row)
    calls: list[tuple[str, dict[str, Any], str]] = [
        ("create", {"data": {**row, "never_null": None}}, "data.never_null"),
        ("create", {"data": {"created": "yesterday"}}, "data.never_null"),
        ("update", {"id": made["id"], "data": {"never_null": None}}, "data.never_null"),
        ("bulk_create", {"data": [row, {**row, "never_null": None}]}, "data[1].never_null"),
    ]
    for operation, arguments, where in calls:
        error = await app.refusal("TrapUpserted", operation, **arguments)

        assert isinstance(error, InvalidArgumentsError)
        assert error.field == where
