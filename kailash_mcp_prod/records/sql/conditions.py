"""Conditions in SQL: a shape to compile once, and the arguments of one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, false, func, not_, or_, true

from kailash_mcp_prod.records.query import All, AnyOf, Comparison, Condition
from kailash_mcp_prod.records.sql.codecs import Dialect
from kailash_mcp_prod.records.sql.terms import Term, Terms, glob_of

Shape = tuple[Any, ...]
"""What makes the text of a condition, without its values; two with the same shape share it."""

_EQUALITY = frozenset({"$eq", "$ne", "$in", "$nin"})


class Conditions:
    """Turns the conditions of one model into SQL.

    Args:
        terms: What each field is compared by, hidden fields too.
        dialect: Which database it is.
    """

    def __init__(self, terms: Mapping[str, Terms], dialect: Dialect) -> None:
        self._terms = terms
        self._dialect = dialect

    def shape(self, condition: Condition, arguments: list[Any]) -> Shape:
        """The shape of a condition; its values are appended to the arguments in order."""
        match condition:
            case Comparison(field=field, operator=operator, value=value):
                return self._comparison(field.name, operator, value, arguments)
            case All(parts=parts):
                return ("$and", *(self.shape(part, arguments) for part in parts))
            case AnyOf(parts=parts):
                return ("$or", *(self.shape(part, arguments) for part in parts))
        return ("$not", self.shape(condition.part, arguments))

    def _comparison(self, name: str, operator: str, value: Any, arguments: list[Any]) -> Shape:
        terms = self._terms[name]
        match operator:
            case "$null":
                return (name, operator, value)
            case "$in" | "$nin":
                values = [terms.equality.encode(each) for each in value]
                return (name, operator, self._append_list(values, arguments))
            case "$like" | "$ilike" if self._dialect == "sqlite":
                arguments.append(glob_of(value if operator == "$like" else value.lower()))
            case "$like" | "$ilike" | "$contains":
                arguments.append(value)
            case "$eq" | "$ne":
                arguments.append(terms.equality.encode(value))
            case _:
                arguments.append(terms.order.encode(value))
        return (name, operator)

    def _append_list(self, values: list[Any], arguments: list[Any]) -> int:
        """Appends the values of a list; returns how many parameters stand for them."""
        if not values:
            return 0
        if self._dialect == "postgresql":
            arguments.append(values)
            return 1
        # A power of two, so that lists of any length make few statements.
        length = 1 << (len(values) - 1).bit_length()
        arguments.extend(values)
        arguments.extend([values[-1]] * (length - len(values)))
        return length

    def expression(self, shape: Shape, bind: Callable[[], BindParameter[Any]]) -> Any:
        """The expression of a shape; `bind` gives a parameter for each argument, in order."""
        kind, *rest = shape
        match kind:
            case "$and":
                return and_(true(), *[self.expression(part, bind) for part in rest])
            case "$or":
                return or_(false(), *[self.expression(part, bind) for part in rest])
            case "$not":
                return not_(self.expression(rest[0], bind).self_group())
        return self._compare(self._terms[kind], rest[0], rest[1:], bind)

    def _compare(
        self, terms: Terms, operator: str, rest: list[Any], bind: Callable[[], BindParameter[Any]]
    ) -> ColumnElement[bool]:
        column = terms.column
        if operator == "$null":
            return column.is_(None) if rest[0] else column.is_not(None)
        if operator in {"$in", "$nin"}:
            return self._listed(terms.equality, operator, rest[0], bind)
        sqlite = self._dialect == "sqlite"
        match operator:
            case "$like":
                return column.bool_op("GLOB")(bind()) if sqlite else column.like(bind())
            case "$ilike" if sqlite:
                return func.mcp_lower(column).bool_op("GLOB")(bind())
            case "$ilike":
                return column.ilike(bind())
            case "$contains":
                find = func.instr if sqlite else func.strpos
                return find(column, bind()) > 0
        term = terms.equality if operator in _EQUALITY else terms.order
        return _OPERATORS[operator](term.expression, bind())

    def _listed(
        self, term: Term, operator: str, length: int, bind: Callable[[], BindParameter[Any]]
    ) -> ColumnElement[bool]:
        if length == 0:
            return false() if operator == "$in" else true()
        expression = term.expression
        if self._dialect == "postgresql":
            if operator == "$in":
                return expression == func.any(bind())
            return expression != func.all(bind())
        values = [bind() for _ in range(length)]
        return expression.in_(values) if operator == "$in" else expression.not_in(values)


_OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "$eq": lambda left, right: left == right,
    "$ne": lambda left, right: left != right,
    "$gt": lambda left, right: left > right,
    "$gte": lambda left, right: left >= right,
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
}


def binder() -> Callable[[], BindParameter[Any]]:
    """Parameters named by their position among the arguments."""
    count = 0

    def bind() -> BindParameter[Any]:
        nonlocal count
        count += 1
        return bindparam(f"a{count - 1}")

    return bind
