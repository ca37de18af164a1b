from __future__ import annotations

from typing import Any
from uuid import RFC_4122, UUID

from kailash_mcp_prod.records.model import Field, Model, new_keys
from kailash_mcp_prod.records.types import FieldType, Kind


def field(name: str, kind: Kind, **more: Any) -> Field:
    return Field(name, FieldType(kind), "", **{"required": False, **more})


def model(key: Kind, *fields: Field) -> Model:
    return Model("Thing", "things", "Things.", (field("id", key), *fields))


TAGS = field("tags", Kind.ARRAY, default=["new"])
NAME = field("name", Kind.TEXT, required=True)
STAMP = field("created_at", Kind.DATETIME, read_only=True)
CODE = field("code", Kind.TEXT, default=lambda: "made")


def test_a_row_is_completed_with_an_id_and_defaults() -> None:
    thing = model(Kind.TEXT, NAME, TAGS, CODE, STAMP)

    first = thing.complete({"name": "a"})
    second = thing.complete({"name": "b", "id": "given", "tags": [], "code": None})

    assert first == {"id": first["id"], "name": "a", "tags": ["new"], "code": "made"}
    assert second == {"id": "given", "name": "b", "tags": [], "code": None}
    assert len(first["id"]) == 32
    assert thing.complete({"name": "a"})["id"] != first["id"]


def test_defaults_are_copied_for_each_row() -> None:
    thing = model(Kind.TEXT, NAME, TAGS)

    thing.complete({"name": "a"})["tags"].append("changed")

    assert thing.complete({"name": "b"})["tags"] == ["new"]


def test_a_key_that_the_database_makes_is_left_out() -> None:
    thing = model(Kind.INTEGER, NAME)

    assert thing.generates_key
    assert thing.complete({"name": "a"}) == {"name": "a"}


def test_many_rows_are_completed_as_one_is() -> None:
    thing = model(Kind.TEXT, NAME, TAGS)

    rows = thing.complete_all([{"name": "a"}, {"name": "b", "id": "given"}, {"name": "c"}])

    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["id"] == "given"
    assert len({row["id"] for row in rows}) == 3
    assert rows[0]["tags"] is not rows[2]["tags"]
    assert thing.complete_all([]) == []


def test_fields_are_found_by_name_and_the_writable_ones_known() -> None:
    thing = model(Kind.TEXT, NAME, STAMP)

    assert thing.field("name") is NAME
    assert thing.field("NAME") is None
    assert thing.writable == (NAME,)
    assert list(thing.types) == ["id", "name", "created_at"]


def test_new_keys_are_random_uuids() -> None:
    keys = set(new_keys(200))

    assert len(keys) == 200
    for key in keys:
        parsed = UUID(key)
        assert (parsed.hex, parsed.version, parsed.variant) == (key, 4, RFC_4122)
