"""SQL texts for the drivers, compiled from SQLAlchemy's statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.records.sql.codecs import Dialect

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


@dataclass(frozen=True, slots=True)
class Statement:
    """A text for the driver. `order` says which argument, or which constant, each parameter is."""

    text: str
    order: tuple[tuple[bool, Any], ...]

    def bind(self, arguments: Sequence[Any]) -> list[Any]:
        """The parameters in the driver's order."""
        return [arguments[value] if varies else value for varies, value in self.order]


def compile_statement(statement: Any, dialect: Dialect) -> Statement:
    """The text of a statement. Its parameters `a0`, `a1`, … are arguments, others constants."""
    compiled: SQLCompiler = statement.compile(dialect=_dialect(dialect))
    order: list[tuple[bool, Any]] = []
    for name in compiled.positiontup or ():
        varies = name[:1] == "a" and name[1:].isdigit()
        order.append((True, int(name[1:])) if varies else (False, compiled.params[name]))
    return Statement(str(compiled), tuple(order))


@cache
def _dialect(name: Dialect) -> Any:
    """The plain one: a driver's adds casts, and parameters have to follow the real column.

    Imported late, because nobody needs both.
    """
    if name == "postgresql":
        from sqlalchemy.dialects.postgresql.base import PGDialect

        return PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    from sqlalchemy.dialects.sqlite.base import SQLiteDialect

    return SQLiteDialect(paramstyle="qmark")
