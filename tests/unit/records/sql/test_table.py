from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kailash_mcp_prod.errors import InternalError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.query import EVERYTHING, All, Comparison, Condition, Sort
from kailash_mcp_prod.records.sql.codecs import Dialect, UnsupportedColumnError
from kailash_mcp_prod.records.sql.table import TableSql, hidden_and_visible
from kailash_mcp_prod.records.types import FieldType, Kind
from tests.unit.records.sql.sample_tables import (
    COUNTED,
    SAMPLE,
    STAMPS,
    connected,
    field_of,
    insert,
    table_for,
)

DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")
HOSTILE = "x'); DROP TABLE samples; --"
AWKWARD = Model(
    "Awkward",
    'odd "table"; --',
    "",
    (
        Field("id", FieldType(Kind.TEXT), "", required=True),
        field_of(Kind.INTEGER, "order"),
        field_of(Kind.TEXT, "group"),
        field_of(Kind.TEXT, "createdBy"),
        field_of(Kind.TEXT, "a1"),
        *STAMPS,
    ),
)
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "", required=True, read_only=True)
KEPT = replace(AWKWARD, soft_delete=True, tenant=TENANT)


def all_texts(table: TableSql) -> list[str]:
    """A statement of every form that a table has, given values that try to be more."""
    is_it = Comparison(table.field("group"), "$eq", HOSTILE)
    contains = Comparison(table.field("group"), "$contains", HOSTILE)
    pattern = Comparison(table.field("createdBy"), "$ilike", HOSTILE)
    condition: Condition = All((is_it, contains, pattern))
    sort = (Sort(table.field("order"), descending=True), Sort(table.field("id")))
    names = ("order", "group", "createdBy", "a1")
    texts = [
        table.insert({"id": HOSTILE, "order": 1, "group": HOSTILE, "a1": HOSTILE})[0],
        table.insert_each(("id", *names)),
        table.select(("id", *names), condition, sort=sort, limit=3, offset=2, lock=True)[0],
        table.count(condition)[0],
        table.update(condition, {"group": HOSTILE, "order": 2}, ("id",))[0],
        table.update_each(names),
        table.delete(condition)[0],
    ]
    if table.dialect == "postgresql":
        texts += [table.insert_arrays(("id", *names)), table.update_arrays(names)]
    return texts


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", [AWKWARD, KEPT])
def test_statements_hold_quoted_names_and_parameters_only(model: Model, dialect: Dialect) -> None:
    names = {each.name for each in hidden_and_visible(model)} | {"given", "_position"}
    for text in all_texts(table_for(model, dialect)):
        assert "DROP" not in text
        assert "'" not in re.sub(r"'[0*?.]*'", "", text)
        quoted = set(re.findall(r'"((?:[^"]|"")*)"', text))
        assert quoted <= names | {'odd ""table""; --'}
        bare = re.sub(r'"(?:[^"]|"")*"', " ", text)
        # What is left are words of SQL, functions and types: no name of the model's.
        assert not set(re.findall(r"[A-Za-z_]\w*", bare)) & {"odd", "order", "group", "createdBy"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_soft_delete_model_shows_and_changes_no_deleted_rows(dialect: Dialect) -> None:
    for text in all_texts(table_for(KEPT, dialect)):
        if not text.startswith("INSERT"):
            assert '"deleted_at" IS NULL' in text


def test_parameters_go_where_their_names_say() -> None:
    table = table_for(AWKWARD)
    with closing(connected(AWKWARD)) as connection:
        names = table.ordered(("a1", "group", "order", "id"))
        rows = [
            table.encode(names, {"id": f"k{n}", "order": n, "group": f"g{n}", "a1": f"a{n}"})
            for n in range(3)
        ]
        connection.executemany(table.insert_each(names), rows)
        changed = table.ordered(("order", "a1"))
        changes = [(*table.encode(changed, {"a1": f"b{n}", "order": -n}), f"k{n}") for n in (2, 1)]
        connection.executemany(table.update_each(changed), changes)
        condition = All(
            (
                Comparison(table.field("order"), "$lte", 0),
                Comparison(table.field("group"), "$in", ["g0", "g1"]),
            )
        )
        text, arguments = table.update(condition, {"createdBy": "me"}, ("id",))
        assert sorted(connection.execute(text, arguments)) == [("k0",), ("k1",)]

        statement = table.select(
            ("id", "order", "group", "a1", "createdBy"),
            EVERYTHING,
            sort=(Sort(table.field("id")),),
            limit=2,
            offset=1,
        )
        assert connection.execute(*statement).fetchall() == [
            ("k1", -1, "g1", "b1", "me"),
            ("k2", -2, "g2", "b2", None),
        ]


def test_parameters_of_a_wide_table_keep_their_order() -> None:
    wide = replace(
        AWKWARD,
        table="wide",
        fields=(
            AWKWARD.key,
            *(field_of(Kind.INTEGER, f"a{number}") for number in range(120, 0, -1)),
            *STAMPS,
        ),
    )
    table = table_for(wide)
    values = {f"a{number}": number for number in range(1, 121)}
    with closing(connected(wide)) as connection:
        names = table.ordered(("id", *values))
        connection.execute(table.insert_each(names), table.encode(names, {"id": "k", **values}))
        [stored] = connection.execute(*table.select(names, EVERYTHING))

        assert dict(zip(names, stored, strict=True)) == {"id": "k", **values}


def test_keys_that_the_database_makes_are_returned() -> None:
    table = table_for(COUNTED)
    with closing(connected(COUNTED)) as connection:
        text = table.insert_each(("text",))

        assert [connection.execute(text, [each]).fetchone()[0] for each in "ab"] == [1, 2]
        stored = connection.execute(*table.insert({"text": "c", "integer": 3})).fetchall()
        assert table.rows(table.visible, stored)[0]["id"] == 3


def test_an_update_tells_when_and_a_deletion_whom() -> None:
    table = table_for(AWKWARD)
    with closing(connected(AWKWARD)) as connection:
        insert(connection, table, id="k", order=1)
        connection.execute(
            f'UPDATE "{AWKWARD.table.replace(chr(34), 2 * chr(34))}" SET updated_at = NULL'
        )
        chosen = Comparison(AWKWARD.key, "$eq", "k")

        [[stamp]] = connection.execute(*table.update(chosen, {"order": 2}, ("updated_at",)))
        assert stamp is not None
        assert connection.execute(*table.delete(chosen)).fetchall() == [("k",)]
        assert connection.execute(*table.delete(chosen)).fetchall() == []


def test_a_deleted_record_of_a_soft_delete_model_stays_and_is_not_seen() -> None:
    table = table_for(KEPT)
    with closing(connected(KEPT)) as connection:
        insert(connection, table, id="k", tenant_id="t")
        connection.execute(*table.delete(EVERYTHING)).fetchall()

        assert connection.execute(*table.count(EVERYTHING)).fetchone() == (0,)
        assert connection.execute(*table.update(EVERYTHING, {"order": 1}, ("id",))).fetchall() == []
        name = KEPT.table.replace('"', '""')
        assert connection.execute(f'SELECT deleted_at FROM "{name}"').fetchone() != (None,)


def variants(table: TableSql) -> Iterator[Callable[[], Any]]:
    """Many statements of different forms."""
    field = table.field("integer")
    for number in range(1, 9):
        for length in range(60):
            condition = All(tuple(Comparison(field, "$eq", each) for each in range(length)))
            names = table.visible[:number]
            yield lambda condition=condition, names=names: table.select(names, condition)


def test_the_number_of_statements_that_are_kept_is_bounded() -> None:
    table = table_for(COUNTED)

    for variant in variants(table):
        variant()

    assert len(table._statements) == 256


def test_a_statement_that_is_often_asked_for_is_kept() -> None:
    table = table_for(COUNTED)
    table.count(EVERYTHING)
    kept = next(iter(table._statements.values()))

    for variant in variants(table):
        variant()
        table.count(EVERYTHING)

    assert kept in table._statements.values()


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Kind.DATETIME, "secret"),
        (Kind.DATE, "31.12.2026 secret"),
        (Kind.DECIMAL, "secret"),
        (Kind.UUID, "secret"),
        (Kind.OBJECT, "{secret"),
        (Kind.FLOAT, b"secret"),
    ],
)
def test_what_a_field_cannot_mean_is_not_shown_and_the_log_names_its_column(
    caplog: pytest.LogCaptureFixture, kind: Kind, stored: Any
) -> None:
    declared = {"float": "numeric"} if kind is Kind.FLOAT else {}
    table = table_for(SAMPLE, **declared)
    names = ("id", kind.value)

    with pytest.raises(InternalError) as caught:
        table.rows(names, [("k", stored)])

    assert "secret" not in str(caught.value.to_dict("r"))
    assert kind.value in caught.value.message
    [record] = caplog.records
    assert (record.levelno, record.args) == (logging.ERROR, ("Sample", kind.value))
    assert "secret" not in record.getMessage()


def test_rows_are_in_python_form_and_nulls_stay() -> None:
    table = table_for(SAMPLE)

    assert table.rows(("id", "decimal", "boolean"), [("a", "1.50", 0), ("b", None, None)]) == [
        {"id": "a", "decimal": Decimal("1.50"), "boolean": False},
        {"id": "b", "decimal": None, "boolean": None},
    ]


def test_a_table_whose_column_cannot_serve_is_refused() -> None:
    with pytest.raises(UnsupportedColumnError, match="uuid holds uuid values"):
        table_for(SAMPLE, "postgresql", uuid="integer")


def test_columns_that_may_be_large_are_known_by_their_place() -> None:
    table = table_for(SAMPLE)

    assert table.large(("integer", "text", "uuid", "bytes", "object")) == [1, 3, 4]
    assert table.large(("integer",)) == []
