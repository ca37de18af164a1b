"""The statements of one model, compiled once for each operation and shape.

They are made with SQLAlchemy Core and run as text by the drivers, because SQLAlchemy's own
execution would cost more than the database's answer.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.types import NullType, String, UserDefinedType

from kailash_mcp_prod.errors import InternalError
from kailash_mcp_prod.records.aggregates import Aggregation
from kailash_mcp_prod.records.columns import Table
from kailash_mcp_prod.records.model import Field, Model, Row
from kailash_mcp_prod.records.query import Condition, Sort
from kailash_mcp_prod.records.sql.codecs import Codec, Dialect, codec_for
from kailash_mcp_prod.records.sql.conditions import Conditions, binder
from kailash_mcp_prod.records.sql.grouping import Grouping, shape_of
from kailash_mcp_prod.records.sql.statements import Statement, compile_statement
from kailash_mcp_prod.records.sql.terms import terms_of
from kailash_mcp_prod.records.types import FieldType, Kind

logger = logging.getLogger(__name__)

Build = Callable[[Callable[[], Any]], Any]
"""Makes a statement; what it is given makes the next parameter."""

_MAX_STATEMENTS = 256
# No field begins with an underscore.
_POSITION = "_position"
_LARGE_KINDS = frozenset({Kind.TEXT, Kind.OBJECT, Kind.ARRAY, Kind.BYTES})
_DELETED_AT = Field(
    "deleted_at", FieldType(Kind.DATETIME, nullable=True), "", required=False, read_only=True
)


class TableSql:
    """A model's table: its statements, and its rows in Python form.

    Args:
        model: The model.
        table: The table that is there.
        dialect: Which database it is.

    Raises:
        UnsupportedColumnError: A column can't hold a field's values.
    """

    def __init__(self, model: Model, table: Table, dialect: Dialect) -> None:
        self.model = model
        self.dialect: Dialect = dialect
        self.unique_columns = {each.name: each.columns for each in table.indexes if each.unique}
        fields = hidden_and_visible(model)
        self._fields = {each.name: each for each in fields}
        self.codecs: dict[str, Codec] = {
            each.name: codec_for(each, table.columns[each.name], dialect) for each in fields
        }
        self.column_types = {each.name: table.columns[each.name].type for each in fields}
        # So that nobody asks for many rows at once where they have been large before.
        self.largest_row: int | None = None
        self.takes_copies = True
        self._large = {each.name for each in fields if each.type.kind in _LARGE_KINDS}
        self.visible = tuple(each.name for each in model.fields)
        self._table = sa.Table(
            sa.sql.quoted_name(model.table, quote=True),
            sa.MetaData(),
            *(_column(each, self.codecs[each.name]) for each in fields),
        )
        self._terms = {
            each.name: terms_of(each, self._table.c[each.name], self.codecs[each.name], dialect)
            for each in fields
        }
        self._conditions = Conditions(self._terms, dialect)
        self.grouping = Grouping(self._terms, self.codecs, dialect)
        self._statements: OrderedDict[tuple[Any, ...], Statement] = OrderedDict()

    def field(self, name: str) -> Field:
        """The field of that name, hidden ones too."""
        return self._fields[name]

    def note_size(self, size: int) -> None:
        """Remembers how large a row was, in characters and bytes of its large columns.

        What was larger once is forgotten little by little.
        """
        self.largest_row = max(size, (self.largest_row or 0) * 4 // 5)

    def large(self, names: Sequence[str]) -> list[int]:
        """The positions of those columns whose values may be large: all are texts or bytes."""
        return [place for place, name in enumerate(names) if name in self._large]

    def ordered(self, names: Iterable[str]) -> tuple[str, ...]:
        """Column names in the order of the table, which is that of parameters of many rows."""
        chosen = set(names)
        return tuple(name for name in self._fields if name in chosen)

    def insert(self, row: Row) -> tuple[str, list[Any]]:
        """Inserts a row and returns the visible columns."""
        names = tuple(row)

        def build(bind: Callable[[], Any]) -> Any:
            values = {name: bind() for name in names}
            return sa.insert(self._table).values(values).returning(*self._columns(self.visible))

        return self._statement(("insert", names), build, self.encode(names, row))

    def insert_each(self, names: tuple[str, ...], together: int = 1) -> str:
        """Inserts rows of these columns, so many at once; returns keys that the database makes."""

        def build(bind: Callable[[], Any]) -> Any:
            rows = [{name: bind() for name in names} for _ in range(together)]
            insert = sa.insert(self._table).values(rows if together > 1 else rows[0])
            return insert.returning(self._key) if self.model.generates_key else insert

        return self._text(("insert each", names, together), build)

    def insert_arrays(self, names: tuple[str, ...]) -> str:
        """Inserts rows given as an array for each column; returns the keys in no set order."""

        def build(bind: Callable[[], Any]) -> Any:
            rows = self._arrays(names, bind, ordered=True)
            chosen = sa.select(*(rows.c[name] for name in names)).order_by(rows.c[_POSITION])
            columns = [self._table.c[name] for name in names]
            return sa.insert(self._table).from_select(columns, chosen).returning(self._key)

        return self._text(("insert arrays", names), build)

    def select(
        self,
        names: tuple[str, ...],
        condition: Condition,
        *,
        sort: tuple[Sort, ...] = (),
        limit: int | None = None,
        offset: int = 0,
        lock: bool = False,
    ) -> tuple[str, list[Any]]:
        """Selects columns of the rows that match; `lock` keeps them from other writers."""
        arguments: list[Any] = []
        shape = self._conditions.shape(condition, arguments)
        order = tuple((each.field.name, each.descending) for each in sort)
        key = ("select", names, shape, order, limit is None, offset == 0, lock)
        if limit is not None:
            arguments.append(limit)
        if offset:
            arguments.append(offset)

        def build(bind: Callable[[], Any]) -> Any:
            select = sa.select(*self._columns(names)).where(
                *self._where(self._conditions.expression(shape, bind))
            )
            select = select.order_by(*(self._order(each) for each in sort))
            if limit is not None:
                select = select.limit(bind())
            if offset:
                select = select.offset(bind())
            return select.with_for_update() if lock and self.dialect == "postgresql" else select

        return self._statement(key, build, arguments)

    def count(self, condition: Condition) -> tuple[str, list[Any]]:
        """Counts the rows that match."""
        arguments: list[Any] = []
        shape = self._conditions.shape(condition, arguments)

        def build(bind: Callable[[], Any]) -> Any:
            where = self._where(self._conditions.expression(shape, bind))
            return sa.select(sa.func.count()).select_from(self._table).where(*where)

        return self._statement(("count", shape), build, arguments)

    def aggregate(self, condition: Condition, asked: Aggregation) -> tuple[str, list[Any]]:
        """Groups the rows that match; `grouping` reads the groups, one more than are asked for."""
        arguments: list[Any] = []
        shape = self._conditions.shape(condition, arguments)
        arguments.append(asked.limit + 1)

        def build(bind: Callable[[], Any]) -> Any:
            where = self._where(self._conditions.expression(shape, bind))
            return self.grouping.statement(asked, self._table, where, bind())

        return self._statement(("aggregate", shape, shape_of(asked)), build, arguments)

    def update(
        self, condition: Condition, changes: Row, returning: tuple[str, ...]
    ) -> tuple[str, list[Any]]:
        """Changes the rows that match and returns columns of them."""
        names = tuple(changes)
        arguments = self.encode(names, changes)
        shape = self._conditions.shape(condition, arguments)

        def build(bind: Callable[[], Any]) -> Any:
            values = {name: bind() for name in names}
            where = self._where(self._conditions.expression(shape, bind))
            update = sa.update(self._table).values(self._stamped(values)).where(*where)
            return update.returning(*self._columns(returning))

        return self._statement(("update", names, shape, returning), build, arguments)

    def update_each(self, names: tuple[str, ...]) -> str:
        """Changes rows one by one: the columns, then the key."""

        def build(bind: Callable[[], Any]) -> Any:
            values = {name: bind() for name in names}
            where = self._where(self._key == bind())
            return sa.update(self._table).values(self._stamped(values)).where(*where)

        return self._text(("update each", names), build)

    def update_arrays(self, names: tuple[str, ...]) -> str:
        """Changes rows given as an array for each column, then one for the keys."""

        def build(bind: Callable[[], Any]) -> Any:
            rows = self._arrays((*names, "id"), bind)
            where = self._where(self._key == rows.c.id)
            values = {name: rows.c[name] for name in names}
            return sa.update(self._table).values(self._stamped(values)).where(*where)

        return self._text(("update arrays", names), build)

    def delete(self, condition: Condition) -> tuple[str, list[Any]]:
        """Deletes the rows that match, or marks them as deleted, and returns their keys."""
        arguments: list[Any] = []
        shape = self._conditions.shape(condition, arguments)

        def build(bind: Callable[[], Any]) -> Any:
            where = self._where(self._conditions.expression(shape, bind))
            change: sa.Update | sa.Delete = (
                sa.update(self._table).values(deleted_at=sa.func.current_timestamp())
                if self.model.soft_delete
                else sa.delete(self._table)
            )
            return change.where(*where).returning(self._key)

        return self._statement(("delete", shape), build, arguments)

    def encode(self, names: Iterable[str], row: Row) -> list[Any]:
        """The values of a row as parameters."""
        encoded = []
        for name in names:
            value = row[name]
            encode = self.codecs[name].encode
            encoded.append(value if encode is None or value is None else encode(value))
        return encoded

    def parameters(self, names: tuple[str, ...], rows: Sequence[Row]) -> list[Sequence[Any]]:
        """The values of many rows as parameters."""
        # Column by column, which takes less time than row by row.
        columns: list[list[Any]] = []
        for name in names:
            column = [row[name] for row in rows]
            encode = self.codecs[name].encode
            if encode is not None:
                column = [None if each is None else encode(each) for each in column]
            columns.append(column)
        return list(zip(*columns, strict=True))

    def rows(self, names: tuple[str, ...], stored: Sequence[Sequence[Any]]) -> list[Row]:
        """Rows in Python form.

        Raises:
            InternalError: A column holds something that its field can't mean; the log names it.
        """
        return self._converted(names, stored, "decode")

    def records(self, names: tuple[str, ...], stored: Sequence[Sequence[Any]]) -> list[Row]:
        """Rows, whose first columns are these, as the JSON objects of results.

        Raises:
            InternalError: As for `rows`.
        """
        return self._converted(names, stored, "render")

    def _converted(
        self,
        names: tuple[str, ...],
        stored: Sequence[Sequence[Any]],
        conversion: Literal["decode", "render"],
    ) -> list[dict[str, Any]]:
        columns: list[Sequence[Any]] = []
        for name, column in zip(names, zip(*stored, strict=True), strict=False):
            convert = getattr(self.codecs[name], conversion)
            if convert is None:
                columns.append(column)
                continue
            try:
                columns.append([None if each is None else convert(each) for each in column])
            except (ValueError, TypeError, OverflowError) as problem:
                raise self.unreadable(name) from problem
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def unreadable(self, name: str) -> InternalError:
        """The error for a column that holds something that its field can't mean."""
        model = self.model
        logger.error("%s.%s of a stored row holds what the field can't mean", model.name, name)
        return InternalError(
            f"A stored {model.name} can't be read, because its {name} is of another kind than the "
            "field. Report the request id to the server's operator."
        )

    @property
    def _key(self) -> sa.Column[Any]:
        return self._table.c.id

    def _columns(self, names: Iterable[str]) -> list[sa.Column[Any]]:
        return [self._table.c[name] for name in names]

    def _where(self, expression: Any) -> list[Any]:
        if self.model.soft_delete:
            return [expression, self._table.c.deleted_at.is_(None)]
        return [expression]

    def _stamped(self, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "updated_at": sa.func.current_timestamp()}

    def _order(self, sort: Sort) -> Any:
        expression = self._terms[sort.field.name].order.expression
        ordered = expression.desc() if sort.descending else expression.asc()
        # Said only where it changes something, because it keeps SQLite from using an index.
        last_anyway = self.dialect == "postgresql" and not sort.descending
        return ordered.nulls_last() if sort.field.may_be_null and not last_anyway else ordered

    def _arrays(
        self, names: tuple[str, ...], bind: Callable[[], Any], *, ordered: bool = False
    ) -> Any:
        arrays = [sa.cast(bind(), _ArrayOf(self.column_types[name])) for name in names]
        columns: list[Any] = [sa.column(sa.sql.quoted_name(name, quote=True)) for name in names]
        extra = {"with_ordinality": _POSITION} if ordered else {}
        return (
            sa.func.unnest(*arrays).table_valued(*columns, name="given", **extra).render_derived()
        )

    def _statement(
        self, key: tuple[Any, ...], build: Build, arguments: list[Any]
    ) -> tuple[str, list[Any]]:
        statement = self._compiled(key, build)
        return statement.text, statement.bind(arguments)

    def _text(self, key: tuple[Any, ...], build: Build) -> str:
        """A statement whose parameters stand in the order in which they were bound."""
        statement = self._compiled(key, build)
        assert all(  # noqa: S101 - else values would be written into the wrong columns
            part == (True, place) for place, part in enumerate(statement.order)
        )
        return statement.text

    def _compiled(self, key: tuple[Any, ...], build: Build) -> Statement:
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = compile_statement(build(binder()), self.dialect)
            if len(self._statements) > _MAX_STATEMENTS:
                self._statements.popitem(last=False)
        else:
            self._statements.move_to_end(key)
        return statement


def hidden_and_visible(model: Model) -> tuple[Field, ...]:
    """All fields whose columns the statements use."""
    tenant = () if model.tenant is None else (model.tenant,)
    return (*model.fields, *tenant, *((_DELETED_AT,) if model.soft_delete else ()))


class _ArrayOf(UserDefinedType[Any]):
    """An array of a type that PostgreSQL named itself."""

    cache_ok = True

    def __init__(self, item: str) -> None:
        self.item = item

    def get_col_spec(self, **_: Any) -> str:
        return f"{self.item}[]"


def _column(field: Field, codec: Codec) -> sa.Column[Any]:
    textual = codec.as_text or field.type.kind is Kind.TEXT
    name = sa.sql.quoted_name(field.name, quote=True)
    return sa.Column(name, String() if textual else NullType())
