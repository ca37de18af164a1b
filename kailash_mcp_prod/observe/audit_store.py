"""Appends to the audit: one chain for all replicas that share a database."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.errors import (
    DatabaseStartupError,
    ServerError,
    UnavailableError,
    UnservedError,
)
from kailash_mcp_prod.observe.audit_chain import PRUNED, AuditSeal, Draft, Row, draft_of, link
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.columns import reflect_tables

if TYPE_CHECKING:
    from kailash_mcp_prod.records.sql.database import Rows, Statement
    from kailash_mcp_prod.records.sql.store import SqlStore
    from kailash_mcp_prod.state.database import StateDatabase

log = get_logger(__name__)

TABLES: Final = ("mcp_audit", "mcp_audit_head")

# What is known of a batch whose storing was not answered for: that it is there after all.
_HEAD: Final = """
SELECT seq, hash, base_seq, (SELECT count(*) FROM mcp_audit WHERE seq = $1 AND hash = $2)
FROM mcp_audit_head WHERE id = 1
"""
_MOVE: Final = "UPDATE mcp_audit_head SET seq = $1, hash = $2 WHERE id = 1"
_COLUMNS: Final = "seq, at, who, tool, model, outcome, request_id, ids, entry, hash"
# Few statements, because for each of them the thread of SQLite and that of the event loop hand
# over the interpreter lock; and few different ones, so that they stay prepared.
_INSERTS: Final = {
    count: f"INSERT INTO mcp_audit ({_COLUMNS}) VALUES "  # noqa: S608
    + ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * count)
    for count in (64, 32, 16, 8, 4, 2, 1)
}
_INSERT_ROWS: Final = f"""
INSERT INTO mcp_audit ({_COLUMNS}) SELECT * FROM unnest(
    $1::bigint[], $2::float8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[])
"""  # noqa: S608
_PRUNE: Final = "UPDATE mcp_audit_head SET seq = $1, hash = $2, base_seq = $3 WHERE id = 1"
_FIRST_KEPT: Final = """
SELECT seq FROM mcp_audit WHERE seq > $1 AND seq <= $2 AND at >= $3 ORDER BY seq LIMIT 1
"""
_HASH: Final = "SELECT hash FROM mcp_audit WHERE seq = $1"
_OLDEST: Final = "SELECT seq FROM mcp_audit WHERE seq <= $1 ORDER BY seq LIMIT 1"
_DELETE: Final = "DELETE FROM mcp_audit WHERE seq <= $1"

_MAY_MOVE: Final = "UPDATE mcp_audit_head SET seq = seq WHERE 1 = 0"
_MAY_INSERT: Final = (
    f"INSERT INTO mcp_audit ({_COLUMNS}) SELECT {_COLUMNS} FROM mcp_audit WHERE 1 = 0"  # noqa: S608
)

_PRUNED_AT_ONCE: Final = 50_000
_DELETED_AT_ONCE: Final = 1_000
_NOWHERE: Final = (-1, "")

_WITHOUT: Final = "Servers do without with enable_audit off, or with read_only on."

NOT_PREPARED: Final = (
    "The audit can't be kept in this database; the server's log says why. Nothing was changed. "
    "Report the request id to its operator."
)


class AuditTrail:
    """The audit in one database, to be written.

    Args:
        url: Its address, as DataFlow takes it.
        store: Runs statements there.
        state: The same database, asked when tables have to be made.
        seal: Makes the hashes.
        may_create: Whether the tables may be made.
    """

    def __init__(
        self,
        url: str,
        store: SqlStore,
        state: Callable[[], Awaitable[StateDatabase]],
        seal: AuditSeal,
        *,
        may_create: bool,
    ) -> None:
        self._url = url
        self._store = store
        self._state = state
        self._seal = seal
        self._may_create = may_create
        self._on_sqlite = store.dialect == "sqlite"
        self._unsure: tuple[int, str] = _NOWHERE

    async def make_ready(self) -> None:
        """Makes the tables that are missing.

        Raises:
            DatabaseStartupError: They are missing and can't or may not be made.
            UnavailableError: The database does not answer.
        """
        if len(await reflect_tables(self._url, TABLES)) < len(TABLES):
            await self._make()
        # Now, and not when the first change has been made already.
        try:
            await self._store.chain((_MAY_MOVE, ()), lambda _: [(_MAY_INSERT, ())])
        except UnavailableError:
            raise
        except ServerError as refusal:
            raise DatabaseStartupError(
                "The database's user may not write the audit. Grant it SELECT and INSERT on "
                f"mcp_audit, and SELECT and UPDATE on mcp_audit_head. {_WITHOUT}"
            ) from refusal

    async def _make(self) -> None:
        if not self._may_create:
            raise DatabaseStartupError(
                f"The database lacks the tables of the audit: {', '.join(TABLES)}. Start once with "
                f"auto_migrate on. {_WITHOUT}"
            )
        database = await self._state()
        # In a thread and late, because it needs SQLAlchemy.
        module = await asyncio.to_thread(
            importlib.import_module, "kailash_mcp_prod.observe.audit_tables"
        )
        try:
            await database.prepare(module.TABLES)
        except DatabaseStartupError as refusal:
            raise DatabaseStartupError(
                f"The tables of the audit can't be made: {refusal} {_WITHOUT}"
            ) from refusal

    async def append(self, drafts: Sequence[Draft]) -> None:
        """Stores entries in this order, all or none. What failed may be tried again.

        The same entries have to be given until they are stored.

        Raises:
            ServerError: They may not have been stored.
        """
        unsure = self._unsure

        def then(found: Rows) -> Sequence[Statement]:
            seq, previous, _, stored = _head_of(found)
            if stored or (seq, previous) == unsure:
                return []
            rows = link(drafts, seq, previous, self._seal)
            last = rows[-1]
            self._unsure = last.seq, last.hash
            return [*self._insert(rows), (self._said(_MOVE), (last.seq, last.hash))]

        await self._store.chain((self._locked(), unsure), then)
        self._unsure = _NOWHERE

    async def prune(self, before: float) -> int:
        """Removes entries from before a time, and leaves an entry that says so.

        Args:
            before: Unix seconds.

        Returns:
            Up to which number there are none any more.
        """
        while True:
            base, more = await self._move_base(before)
            await self._delete(base)
            if not more:
                return base

    async def _move_base(self, before: float) -> tuple[int, bool]:
        async with self._store.transaction() as transaction:
            head = await transaction.statement(self._locked(), _NOWHERE)
            seq, previous, base, _ = _head_of(head)
            end = min(seq, base + _PRUNED_AT_ONCE)
            kept = await transaction.statement(self._said(_FIRST_KEPT), (base, end, before))
            through = kept[0][0] - 1 if kept else end
            if through <= base:
                return base, False
            [(its_hash,)] = await transaction.statement(self._said(_HASH), (through,))
            facts: dict[str, Any] = {
                "at": round(time.time(), 6),
                "who": "server",
                "tool": PRUNED,
                "outcome": "ok",
                "count": through - base,
                "before": before,
                "through": through,
                "hash": its_hash,
            }
            rows = link([draft_of(facts)], seq, previous, self._seal)
            for text, values in self._insert(rows):
                await transaction.statement(text, values)
            last = rows[-1]
            await transaction.statement(self._said(_PRUNE), (last.seq, last.hash, through))
        log.info("audit_pruned", through=through)
        return through, not kept and end < seq

    async def _delete(self, base: int) -> None:
        """Removes what was pruned, a little at a time: others write meanwhile."""
        while True:
            async with self._store.transaction() as transaction:
                oldest = await transaction.statement(self._said(_OLDEST), (base,))
                if not oldest:
                    return
                end = min(base, oldest[0][0] + _DELETED_AT_ONCE)
                await transaction.statement(self._said(_DELETE), (end,))

    def _insert(self, rows: Sequence[Row]) -> list[Statement]:
        values = [
            (
                *(row.seq, row.at, row.who, row.tool, row.model, row.outcome),
                *(row.request_id, row.ids, row.entry, row.hash),
            )
            for row in rows
        ]
        if self._on_sqlite:
            return list(_insert_together(values))
        return [(_INSERT_ROWS, [list(column) for column in zip(*values, strict=True)])]

    def _locked(self) -> str:
        return self._said(_HEAD) if self._on_sqlite else f"{_HEAD} FOR UPDATE"

    def _said(self, text: str) -> str:
        return text.replace("$", "?") if self._on_sqlite else text


def _insert_together(values: Sequence[tuple[Any, ...]]) -> Iterator[Statement]:
    start = 0
    for count, text in _INSERTS.items():
        while len(values) - start >= count:
            yield text, list(chain.from_iterable(values[start : start + count]))
            start += count


def _head_of(found: Rows) -> tuple[int, str, int, int]:
    if not found:
        log.error("audit_head_missing", hint="The row of mcp_audit_head was removed.")
        raise UnservedError(NOT_PREPARED, retry_after_seconds=60)
    seq, previous, base, stored = found[0]
    return seq, previous, base, stored
