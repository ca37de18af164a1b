"""A page of records that grows by steps, so that large rows don't fill the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kailash_mcp_prod.records.model import Row
from kailash_mcp_prod.records.pacing import Steps
from kailash_mcp_prod.records.refusals import too_large
from kailash_mcp_prod.records.shapes import RecordShape
from kailash_mcp_prod.records.sql.database import Rows
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES

_ROWS_AT_FIRST = 50
_ROWS_OF_UNKNOWN_SIZE = 8
_ROWS_IN_A_STEP = 50


class SqlPage:
    """A page of rows as they are stored; see `Found`.

    It grows while it is filled, as long as its rows fit into `MAX_PAGE_BYTES`.

    Args:
        table: Where the rows are from.
        fields: The names of the fields that are asked for.
        sort_fields: Those of the sort order.
        limit: How many rows the page may have.
    """

    def __init__(
        self,
        table: TableSql,
        fields: tuple[str, ...],
        sort_fields: tuple[str, ...],
        limit: int,
    ) -> None:
        self.columns = tuple(dict.fromkeys((*fields, *sort_fields)))
        self.more = False
        self._table = table
        self._fields = fields
        self._large = table.large(self.columns)
        self._limit = limit
        self._stored: list[Sequence[Any]] = []
        self._size = 0

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._stored)

    @property
    def rows(self) -> list[Row]:
        """The rows in Python form."""
        return self._table.rows(self.columns, self._stored)

    def last(self) -> Row:
        """The last row in Python form."""
        return self._table.rows(self.columns, self._stored[-1:])[0]

    def records(self, _shape: RecordShape) -> Steps[list[dict[str, Any]]]:
        """See `Found.records`."""
        made: list[dict[str, Any]] = []
        for start in range(0, len(self._stored), _ROWS_IN_A_STEP):
            some = self._stored[start : start + _ROWS_IN_A_STEP]
            made += self._table.records(self._fields, some)
            yield
        return made

    @property
    def rows_to_ask(self) -> int:
        """How many rows to ask for now, in view of the size of those so far.

        One more than is wanted in the end shows whether more rows follow.
        """
        wanted = self._limit + 1 - len(self._stored)
        largest = self._table.largest_row
        if not self._large:
            return wanted
        if largest is None:
            return min(wanted, _ROWS_OF_UNKNOWN_SIZE)
        room = (MAX_PAGE_BYTES - self._size) // (largest + 1) + 1
        if not self._stored:
            room = min(room, _ROWS_AT_FIRST)
        return min(wanted, room)

    def add(self, stored: Rows) -> bool:
        """Adds further rows as far as there is room, and says whether there was for all.

        Raises:
            InvalidArgumentsError: The first row alone is too large.
        """
        sizes = [self._size_of(row) for row in stored]
        self._table.note_size(max(sizes, default=0))
        for row, size in zip(stored, sizes, strict=True):
            if len(self._stored) == self._limit:
                self.more = True
                return False
            self._size += size
            if self._size > MAX_PAGE_BYTES:
                if not self._stored:
                    raise too_large(self._table.model)
                self.more = True
                return False
            self._stored.append(row)
        return True

    def _size_of(self, row: Sequence[Any]) -> int:
        size = 0
        for column in self._large:
            value = row[column]
            if value is not None:
                size += len(value)
        return size
