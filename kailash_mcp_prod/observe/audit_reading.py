"""Reads the audit: the newest entries first, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
from sqlalchemy import ColumnElement, RowMapping, func, or_, select

from kailash_mcp_prod.observe.audit_chain import Row
from kailash_mcp_prod.observe.audit_tables import TABLES, entries, head
from kailash_mcp_prod.state.database import StateDatabase

MAX_PAGE: Final = 1000
"""The most entries of one page."""

_SCANNED_AT_ONCE: Final = 20_000


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; all that is given must hold. Times are Unix seconds.

    Attributes:
        since: From this time on.
        until: Before this time.
        agent: The subject of the caller, such as `key:billing`, or its name, such as `billing`.
        tool: The tool's name.
        model: The model whose records were to be changed.
        target: An id of what was to be changed.
        outcome: `ok`, or the code of the error.
        request_id: The request.
    """

    since: float | None = None
    until: float | None = None
    agent: str | None = None
    tool: str | None = None
    model: str | None = None
    target: str | None = None
    outcome: str | None = None
    request_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What has to hold for an entry's row."""
        columns = entries.c
        found: list[ColumnElement[bool]] = []
        if self.since is not None:
            found.append(columns.at >= self.since)
        if self.until is not None:
            found.append(columns.at < self.until)
        if self.agent is not None:
            line = columns.who + "\n"
            found.append(or_(columns.who == self.agent, _holds(line, f":{self.agent}\n")))
        if self.target is not None:
            found.append(_holds(columns.ids, f"\n{self.target}\n"))
        for name in ("tool", "model", "outcome", "request_id"):
            value = getattr(self, name)
            if value is not None:
                found.append(columns[name] == value)
        return found


def _holds(text: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Whether a text holds another one, letter by letter, as LIKE does not on SQLite."""
    return func.replace(text, part, "") != text


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry.

    Attributes:
        seq: Its number; later entries have higher ones.
        hash: Names it and all before it.
        facts: What it says, in a fixed order: `at`, `who`, `tool`, `outcome` and, as far as there
            are any, `model`, `operation`, `ids`, `count`, `fields`, `request_id` and others.
    """

    seq: int
    hash: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, row: Row) -> Self:
        """The entry of a row."""
        facts = msgspec.json.decode(row.entry)
        return cls(row.seq, row.hash, {k: v for k, v in facts.items() if k not in _OF_THE_CHAIN})

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"seq": self.seq, **self.facts, "hash": self.hash}


_OF_THE_CHAIN: Final = frozenset({"seq", "prev", "seal"})


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, the newest first. `before` asks for the next page; `None` says that this is all."""

    entries: tuple[AuditEntry, ...]
    before: int | None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where the chain ends, and up to which entry it was pruned."""

    seq: int
    hash: str
    base_seq: int


class AuditReader:
    """The audit in one database. Tables that are not there count as empty.

    Args:
        database: The state.

    Every method raises `UnavailableError` when the database does not answer.

    Example:
        ```python
        page = await reader.find(AuditFilter(agent="billing", outcome="forbidden"), limit=20)
        older = await reader.find(AuditFilter(agent="billing"), limit=20, before=page.before)
        ```
    """

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    async def find(
        self, wanted: AuditFilter | None = None, limit: int = 100, before: int | None = None
    ) -> AuditPage:
        """A page of entries, the newest first.

        Args:
            wanted: Which; `None` for all.
            limit: How many at most, up to 1,000.
            before: Only those with a lower number, as the page before says.
        """
        conditions = (wanted or AuditFilter()).conditions()
        end = await self.head()
        if end is None:
            return AuditPage((), None)
        highest = end.seq if before is None else min(end.seq, before - 1)
        limit = max(1, min(limit, MAX_PAGE))
        found: list[AuditEntry] = []
        # In steps, because a filter that few entries pass has to look at many.
        while highest > end.base_seq and len(found) <= limit:
            lowest = max(end.base_seq, highest - _SCANNED_AT_ONCE)
            statement = (
                select(entries)
                .where(entries.c.seq > lowest, entries.c.seq <= highest, *conditions)
                .order_by(entries.c.seq.desc())
                .limit(limit + 1 - len(found))
            )
            async with self._database.read() as connection:
                rows = (await connection.execute(statement)).mappings().all()
            found.extend(AuditEntry.of(row_of(row)) for row in rows)
            highest = lowest
        more = len(found) > limit
        page = tuple(found[:limit])
        return AuditPage(page, page[-1].seq if more else None)

    async def head(self) -> AuditHead | None:
        """Where the chain ends; `None` when there is no audit, or nothing says where."""
        if not await self._database.has(TABLES):
            return None
        columns = (head.c.seq, head.c.hash, head.c.base_seq)
        async with self._database.read() as connection:
            row = (await connection.execute(select(*columns).where(head.c.id == 1))).first()
        return None if row is None else AuditHead(*row)

    async def beyond(self, seq: int) -> int | None:
        """The number of the last entry, if it is higher than this one."""
        statement = select(func.max(entries.c.seq)).where(entries.c.seq > seq)
        async with self._database.read() as connection:
            found: int | None = await connection.scalar(statement)
        return found

    async def rows(
        self, after: int, through: int, wanted: AuditFilter | None = None
    ) -> AsyncIterator[Row]:
        """Entries as they are stored, the oldest first, without holding more than a few.

        Args:
            after: The number before the first.
            through: The number of the last.
            wanted: Which; `None` for all.
        """
        conditions = (wanted or AuditFilter()).conditions()
        while after < through:
            end = min(through, after + _SCANNED_AT_ONCE)
            statement = (
                select(entries)
                .where(entries.c.seq > after, entries.c.seq <= end, *conditions)
                .order_by(entries.c.seq)
                .limit(MAX_PAGE)
            )
            async with self._database.read() as connection:
                found = (await connection.execute(statement)).mappings().all()
            for each in found:
                yield row_of(each)
            after = found[-1]["seq"] if len(found) == MAX_PAGE else end


def row_of(mapping: RowMapping) -> Row:
    """A row of the table."""
    return Row(**{str(name): value for name, value in mapping.items()})
