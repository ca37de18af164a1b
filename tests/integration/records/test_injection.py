"""Whatever text arrives, it is stored and found as it is, or refused; it never becomes SQL."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable

import pytest

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError
from tests.integration.records.hostile_texts import HOSTILE, IMPOSSIBLE, MEGABYTE, NAMES
from tests.integration.records.trap_app import Json, TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

CATALOGUE = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
    "postgresql": "SELECT relkind::text, relname, relnatts FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY relname",
}


def database(app: TrapApp) -> Json:
    """All that is in the database: its tables and indexes, and every row."""
    return {
        "catalogue": app.tables.execute(CATALOGUE[app.dialect]),
        "rows": {model: app.tables.rows(model) for model in app.models},
    }


def escaped(text: str) -> str:
    """A LIKE pattern for exactly this text."""
    return "".join("\\" + each if each in "%_\\" else each for each in text)


def encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


async def refuse(app: TrapApp, model: str, operation: str, arguments: Json) -> str:
    """The place that a refusal names; it must be fit for an answer."""
    error = await app.refusal(model, operation, **arguments)

    assert isinstance(error, InvalidArgumentsError), (operation, arguments)
    body = json.dumps(error.to_dict("r"), ensure_ascii=False).encode()
    assert len(body) < 20_000
    return error.field or ""


async def test_hostile_texts_are_stored_and_found_as_they_are(app: TrapApp) -> None:
    rows: list[Json] = [
        {
            "id": f"r{position:03}",
            "text": text,
            "free": {text: text, "k": [text, {text: None}]},
            "things": [text, [text]],
            "words": [text, text],
            "anything": {"a": {text: text}},
            "tallies": {text: 1},
        }
        for position, text in enumerate(HOSTILE)
    ]
    await app.call("TrapOption", "bulk_create", data=rows)
    catalogue = database(app)["catalogue"]

    listed = await app.call("TrapOption", "list", limit=1000)
    stored = {each["id"]: each for each in listed["records"]}
    assert len(stored) == len(HOSTILE)
    for row in rows:
        assert stored[row["id"]].items() >= row.items()
    for position, row in enumerate(rows):
        text = row["text"]
        by_value: list[Json] = [
            {"text": text},
            {"text": {"$in": [text, "nothing has this"]}},
            {"text": {"$gte": text, "$lte": text}},
            {"$not": {"text": {"$ne": text}}},
        ]
        for condition in (by_value[position % 4], {"text": {"$like": escaped(text)}}):
            found = await app.call("TrapOption", "list", filter=condition, fields=["id"])
            assert found["records"] == [{"id": row["id"]}], condition
        holders = [each["id"] for each in rows if text in each["text"]]
        by_part: list[Json] = [
            {"text": {"$contains": text}},
            {"text": {"$like": f"%{escaped(text)}%"}},
        ]
        found = await app.call(
            "TrapOption", "list", filter=by_part[position % 2], fields=["id"], limit=1000
        )
        assert [each["id"] for each in found["records"]] == holders, text
    assert database(app)["catalogue"] == catalogue


async def test_hostile_texts_are_written_by_every_operation(app: TrapApp) -> None:
    sample = {"id": "witness", "row": "w", "number": 0, "guest": "untouched"}
    await app.call("TrapSeat", "create", data=sample)
    before = database(app)
    for text in HOSTILE:
        place = {"row": text, "number": 1}
        made = await app.call("TrapSeat", "create", data={**place, "code": text, "guest": text})
        assert (made["row"], made["code"], made["guest"]) == (text, text, text)
        again = await app.refusal("TrapSeat", "create", data=place)
        assert isinstance(again, ConflictError)
        by_place = await app.call(
            "TrapSeat",
            "upsert",
            data={**place, "guest": text + "2"},
            conflict_on=["row", "number"],
        )
        by_code = await app.call(
            "TrapSeat",
            "bulk_upsert",
            data=[{**place, "code": text, "guest": text + "3"}],
            conflict_on=["code"],
        )
        updated = await app.call(
            "TrapSeat",
            "update",
            id=made["id"],
            data={"guest": text + "4"},
            expected={"row": text, "code": text, "guest": text + "3"},
        )
        by_id = await app.call(
            "TrapSeat", "bulk_update", data=[{"id": made["id"], "guest": text + "5"}]
        )
        where = await app.call(
            "TrapSeat", "bulk_update", filter={"guest": text + "5"}, data={"guest": text}
        )
        assert (by_place["id"], by_place["created"]) == (made["id"], False)
        assert (by_code["ids"], by_code["updated"]) == ([made["id"]], 1)
        assert updated["guest"] == text + "4"
        assert by_id["ids"] == where["ids"] == [made["id"]]
        read = await app.call("TrapSeat", "read", id=made["id"])
        assert {**made, "updated_at": read["updated_at"]} == read
        deleted = await app.call("TrapSeat", "bulk_delete", filter={"code": text})
        assert deleted["ids"] == [made["id"]]
    assert database(app) == before


async def test_hostile_texts_are_good_ids(app: TrapApp) -> None:
    ids = sorted(HOSTILE)
    await app.call("TrapArchive", "bulk_create", data=[{"id": "witness", "code": "w"}])
    rows = [{"id": key, "row": "a", "number": number} for number, key in enumerate(ids)]
    made = await app.call("TrapSeat", "bulk_create", data=rows)
    assert made["ids"] == ids
    for number, key in enumerate(ids):
        read = await app.call("TrapSeat", "read", id=key)
        assert (read["id"], read["number"]) == (key, number)
        await app.call("TrapSeat", "update", id=key, data={"guest": key}, expected={"id": key})
        upserted = await app.call(
            "TrapSeat", "upsert", data={"id": key, "row": "a", "number": number, "code": key}
        )
        assert (upserted["created"], upserted["guest"]) == (False, key)
    page = await app.call("TrapSeat", "list", limit=9)
    walked = [each["id"] for each in page["records"]]
    while "next_cursor" in page:
        page = await app.call("TrapSeat", "list", limit=9, cursor=page["next_cursor"])
        walked += [each["id"] for each in page["records"]]
    assert walked == ids
    updated = await app.call(
        "TrapSeat", "bulk_update", data=[{"id": key, "guest": "g"} for key in ids]
    )
    assert updated["ids"] == ids
    for key in ids[::2]:
        assert (await app.call("TrapSeat", "delete", id=key)) == {"id": key, "deleted": True}
    assert (await app.call("TrapSeat", "bulk_delete", ids=ids[1::2]))["ids"] == ids[1::2]
    assert app.tables.rows("TrapSeat") == []
    assert len(app.tables.rows("TrapArchive")) == 1


Arguments = Callable[[str], Json]
ROW = {"id": "r", "text": "x"}
NAMED: list[tuple[str, Arguments, str]] = [
    ("create", lambda name: {"data": {name: "x"}}, "data."),
    ("create", lambda name: {name: "x", "data": {}}, ""),
    ("read", lambda name: {"id": "r", "fields": [name]}, "fields[0]"),
    ("read", lambda name: {"id": "r", name: "x"}, ""),
    ("update", lambda name: {"id": "r", "data": {name: "x"}}, "data."),
    (
        "update",
        lambda name: {"id": "r", "data": {"text": "y"}, "expected": {name: "x"}},
        "expected.",
    ),
    ("delete", lambda name: {"id": "r", name: "x"}, ""),
    ("list", lambda name: {"filter": {name: "x"}}, "filter."),
    ("list", lambda name: {"filter": {name: {"$gt": "x"}}}, "filter."),
    ("list", lambda name: {"filter": {"text": {name: "x"}}}, "filter.text."),
    ("list", lambda name: {"filter": {"text": {"$" + name: "x"}}}, "filter.text."),
    ("list", lambda name: {"filter": {"$" + name: [{"text": "x"}]}}, "filter.$"),
    ("list", lambda name: {"filter": {"$and": [{"text": "x"}, {name: "x"}]}}, "filter.$and[1]."),
    ("list", lambda name: {"sort": [name]}, "sort[0]"),
    ("list", lambda name: {"sort": ["-" + name]}, "sort[0]"),
    ("list", lambda name: {"fields": ["id", name]}, "fields[1]"),
    ("list", lambda name: {"cursor": name}, "cursor"),
    ("list", lambda name: {"limit": name}, "limit"),
    ("list", lambda name: {"offset": name}, "offset"),
    ("count", lambda name: {"filter": {"$not": {name: "x"}}}, "filter.$not."),
    ("upsert", lambda name: {"data": {**ROW, name: "y"}}, "data."),
    ("upsert", lambda name: {"data": ROW, "conflict_on": [name]}, "conflict_on"),
    ("upsert", lambda name: {"data": ROW, "conflict_on": ["id", name]}, "conflict_on"),
    ("bulk_create", lambda name: {"data": [{"text": "a"}, {name: "x"}]}, "data[1]."),
    ("bulk_update", lambda name: {"data": [{"id": "r", name: "x"}]}, "data[0]."),
    ("bulk_update", lambda name: {"filter": {"id": "r"}, "data": {name: "x"}}, "data."),
    ("bulk_update", lambda name: {"filter": {name: "x"}, "data": {"text": "y"}}, "filter."),
    ("bulk_delete", lambda name: {"filter": {name: {"$null": False}}}, "filter."),
    ("bulk_upsert", lambda name: {"data": [{**ROW, name: "x"}]}, "data[0]."),
    ("bulk_upsert", lambda name: {"data": [ROW], "conflict_on": [name]}, "conflict_on"),
]


@pytest.mark.parametrize(("operation", "arguments", "where"), NAMED)
async def test_a_name_is_that_of_a_field_or_an_operator_or_refused(
    app: TrapApp, operation: str, arguments: Arguments, where: str
) -> None:
    await app.call("TrapOption", "create", data=ROW)
    before = database(app)
    for name in NAMES:
        place = await refuse(app, "TrapOption", operation, arguments(name))
        # A key that is no Unicode has no place of its own.
        assert place.startswith(where) or (where.startswith(place) and not encodable(name)), name
    assert database(app) == before


STRICT_FIELDS = (
    "whole",
    "real",
    "flag",
    "moment",
    "day",
    "amount",
    "token",
    "colour",
    "rank",
    "mode",
)
NUMBERS = {"0", "1e5", "-0"}


def is_base64(text: str) -> bool:
    try:
        return b64decode(text, validate=True) is not None
    except ValueError:
        return False


@pytest.mark.parametrize("field", [*STRICT_FIELDS, "blob"])
async def test_hostile_texts_are_refused_where_another_kind_is_expected(
    app: TrapApp, field: str
) -> None:
    await app.call("TrapOption", "create", data=ROW)
    before = database(app)
    for text in HOSTILE:
        if is_base64(text) if field == "blob" else text in NUMBERS:
            continue
        calls: list[tuple[str, Json, str]] = [
            ("create", {"data": {field: text}}, f"data.{field}"),
            ("update", {"id": "r", "data": {field: text}}, f"data.{field}"),
            (
                "update",
                {"id": "r", "data": {"text": "y"}, "expected": {field: text}},
                f"expected.{field}",
            ),
            ("bulk_update", {"data": [{"id": "r", field: text}]}, f"data[0].{field}"),
        ]
        if field != "blob":
            calls += [
                ("list", {"filter": {field: text}}, f"filter.{field}"),
                ("count", {"filter": {field: {"$in": [text]}}}, f"filter.{field}.$in[0]"),
                ("bulk_delete", {"filter": {field: {"$ne": text}}}, f"filter.{field}.$ne"),
            ]
        for operation, arguments, where in calls:
            assert await refuse(app, "TrapOption", operation, arguments) == where
    assert database(app) == before


@pytest.mark.parametrize("text", IMPOSSIBLE, ids=ascii)
async def test_texts_that_no_database_can_store_are_refused_everywhere(
    app: TrapApp, text: str
) -> None:
    await app.call("TrapOption", "create", data=ROW)
    before = database(app)
    calls: list[tuple[str, Json]] = [
        ("create", {"data": {"text": text}}),
        ("create", {"data": {"id": text}}),
        ("create", {"data": {"free": {"a": [text]}}}),
        ("create", {"data": {"free": {text: 1}}}),
        ("create", {"data": {"things": [[text]]}}),
        ("create", {"data": {"words": [text]}}),
        ("create", {"data": {"anything": {"a": {text: 1}}}}),
        ("create", {"data": {"tallies": {text: 1}}}),
        ("create", {"data": {"colour": text}}),
        ("create", {"data": {"blob": text}}),
        ("bulk_create", {"data": [{"text": "a"}, {"text": text}]}),
        ("read", {"id": text}),
        ("delete", {"id": text}),
        ("update", {"id": text, "data": {"text": "y"}}),
        ("update", {"id": "r", "data": {"text": text}}),
        ("update", {"id": "r", "data": {"text": "y"}, "expected": {"text": text}}),
        ("update", {"id": "r", "data": {"text": "y"}, "expected": {"free": {"a": text}}}),
        ("bulk_update", {"data": [{"id": text, "text": "y"}]}),
        ("bulk_update", {"filter": {"id": "r"}, "data": {"text": text}}),
        ("bulk_delete", {"ids": ["r", text]}),
        ("bulk_delete", {"filter": {"text": text}}),
        ("upsert", {"data": {"id": text}}),
        ("bulk_upsert", {"data": [{"id": "r", "text": text}]}),
        ("list", {"filter": {"text": {"$in": ["a", text]}}}),
        ("list", {"filter": {"text": {"$like": text + "%"}}}),
        ("list", {"filter": {"text": {"$contains": text}}}),
        ("list", {"filter": {"id": {"$gt": text}}}),
        ("list", {"cursor": text}),
        ("count", {"filter": {"text": {"$ilike": text}}}),
    ]
    for operation, arguments in calls:
        await refuse(app, "TrapOption", operation, arguments)
    assert database(app) == before


@pytest.mark.parametrize("letter", ["x", "'", "ä", "\\", "%"])
async def test_a_megabyte_of_text_is_stored_and_found(app: TrapApp, letter: str) -> None:
    text = letter * MEGABYTE
    made = await app.call("TrapOption", "create", data={"id": "r", "text": text})
    await app.call("TrapOption", "create", data={"id": "other", "text": text[:-1]})
    before = database(app)

    for condition in ({"text": text}, {"text": {"$in": [text]}}, {"text": {"$gte": text}}):
        found = await app.call("TrapOption", "list", filter=condition, fields=["id"])
        assert found["records"] == [{"id": "r"}]
    updated = await app.call(
        "TrapOption", "update", id="r", data={"text": text}, expected={"text": text}
    )
    too_long: list[tuple[str, Json, str]] = [
        ("create", {"data": {"text": text + letter}}, "data.text"),
        ("update", {"id": "r", "data": {"text": text + letter}}, "data.text"),
        ("create", {"data": {"id": text}}, "data.id"),
        ("read", {"id": text}, "id"),
        ("list", {"filter": {"text": {"$contains": text}}}, "filter.text.$contains"),
        ("list", {"filter": {"text": {"$like": text}}}, "filter.text.$like"),
        ("list", {"filter": {text: "x"}}, "filter."),
        ("list", {"sort": [text]}, "sort[0]"),
        ("list", {"cursor": text}, "cursor"),
    ]
    for operation, arguments, where in too_long:
        assert (await refuse(app, "TrapOption", operation, arguments)).startswith(where)

    assert made["text"] == updated["text"] == text
    assert len(database(app)["rows"]["TrapOption"]) == len(before["rows"]["TrapOption"]) == 2


def keyword_fields(app: TrapApp) -> list[str]:
    return [field.name for field in app.models["TrapKeyword"].writable if field.name != "true"]


async def test_columns_named_like_words_of_sql_hold_what_they_are_given(app: TrapApp) -> None:
    names = keyword_fields(app)
    row = {name: f"{name} {HOSTILE[position]}" for position, name in enumerate(names)}
    made = await app.call("TrapKeyword", "create", data={"id": "r", **row, "true": True})
    await app.call("TrapKeyword", "create", data={"id": "s", "excluded": "other"})
    for name in names:
        for condition in (
            {name: row[name]},
            {name: {"$in": [row[name]]}},
            {name: {"$like": escaped(row[name])}},
            {"$not": {name: {"$ne": row[name]}}, "true": True},
        ):
            listed = await app.call(
                "TrapKeyword", "list", filter=condition, sort=[f"-{name}"], fields=[name]
            )
            assert listed["records"] == [{name: row[name]}]
        changed = await app.call(
            "TrapKeyword", "update", id="r", data={name: "new"}, expected={name: row[name]}
        )
        assert {**made, name: "new", "updated_at": changed["updated_at"]} == changed
        where = await app.call(
            "TrapKeyword", "bulk_update", filter={name: "new"}, data={name: row[name]}
        )
        assert where["ids"] == ["r"]
    stored = await app.call("TrapKeyword", "read", id="r")

    assert {**made, "updated_at": stored["updated_at"]} == stored


@pytest.mark.parametrize("operation", ["bulk_update", "bulk_upsert", "bulk_create"])
async def test_rows_that_name_their_fields_in_another_order_keep_each_value_in_its_field(
    app: TrapApp, operation: str
) -> None:
    names = keyword_fields(app)
    rows = []
    for number in range(6):
        some = names[number:] if number % 2 else [*reversed(names)]
        row = {name: f"{name} {number}" for name in some}
        rows.append({**row, "excluded": f"e{number}", "id": f"r{number}"})
    if operation != "bulk_create":
        blank = [{"id": row["id"], "excluded": row["excluded"]} for row in rows[:4]]
        await app.call("TrapKeyword", "bulk_create", data=blank)
    given = rows[:4] if operation == "bulk_update" else rows

    result = await app.call("TrapKeyword", operation, data=given)

    assert result["ids"] == [row["id"] for row in given]
    for row in given:
        read = await app.call("TrapKeyword", "read", id=row["id"])
        held = {name: value for name, value in read.items() if value is not None}
        assert {
            name: held[name] for name in held if name not in {"created_at", "updated_at"}
        } == row


@pytest.mark.parametrize("unique", [["id"], ["excluded", "camelCase"], ["key"]])
async def test_upserts_on_columns_named_like_words_of_sql(app: TrapApp, unique: list[str]) -> None:
    first = {"id": "r", "excluded": "e", "camelCase": "c", "key": "k", "values": "v"}
    await app.call("TrapKeyword", "create", data=first)
    changed = {"excluded": "e", "camelCase": "c", "key": "k", "returning": "y", "order": "o"}

    upserted = await app.call(
        "TrapKeyword", "upsert", data={**changed, "id": "r"}, conflict_on=unique
    )
    bulk = await app.call(
        "TrapKeyword",
        "bulk_upsert",
        data=[
            {**changed, "id": "r", "case": "C"},
            {"id": "s", "excluded": "n", "camelCase": "n", "key": "n"},
        ],
        conflict_on=unique,
    )
    read = await app.call("TrapKeyword", "read", id="r")

    assert (upserted["id"], upserted["created"]) == ("r", False)
    assert (bulk["created"], bulk["updated"]) == (1, 1)
    assert read.items() >= {**first, **changed, "case": "C"}.items()
