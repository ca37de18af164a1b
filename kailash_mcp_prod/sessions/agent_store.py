"""Agent sessions in the state: what every replica and a restarted server know of them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    bindparam,
    case,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.sessions.agent_values import (
    MAX_CONTEXT_BYTES,
    MAX_CONTEXT_KEYS,
    MAX_SESSIONS,
    SESSION_PREFIX,
    Activity,
    AgentSession,
    Context,
    Figures,
    Owned,
)
from kailash_mcp_prod.sessions.dialects import locked, on_postgresql, take_turn
from kailash_mcp_prod.state.database import METADATA, StateDatabase

sessions = Table(
    "mcp_agent_sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("agent_id", String(255), nullable=False),
    Column("info", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("active_at", Double, nullable=False, index=True),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("total_ms", Double, nullable=False),
    Column("slowest_ms", Double, nullable=False),
    Column("context", Text, nullable=False),
    Column("context_version", Integer, nullable=False),
    Index("ix_mcp_agent_sessions_owner_active_at", "owner", "active_at"),
)
TABLES: Final = (sessions,)

_SHOWN: Final = [each for each in sessions.c if each.name not in {"owner", "context"}]
_TIDY_SECONDS: Final = 60.0
_TIDY_ROWS: Final = 200
_GONE: Final = (
    "there is no such session. It may have ended or expired. Create one with create_agent_session."
)


class AgentSessionStore:
    """The sessions in one database.

    Whose a session is not, for that owner it does not exist. One that was idle for the time-out is
    gone for everybody. Every method raises `UnavailableError` when the database does not answer.

    Args:
        database: The state.
        timeout_seconds: How long a session lasts without a call.
        clock: Unix seconds.
    """

    def __init__(
        self,
        database: StateDatabase,
        timeout_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._tidied_at = 0.0

    async def create(self, owner: str, agent_id: str, info: Mapping[str, Any]) -> AgentSession:
        """Keeps a new session.

        Raises:
            ConflictError: The owner has as many as one may have.
        """
        await self._tidy()
        now = self._clock()
        made = AgentSession(
            id=f"{SESSION_PREFIX}{secrets.token_urlsafe(24)}",
            agent_id=agent_id,
            info=info,
            created_at=now,
            active_at=now,
            figures=Figures(),
            context_version=0,
        )
        async with self._database.begin() as connection:
            await take_turn(connection, owner)
            row = {
                "id": made.id,
                "owner": owner,
                "agent_id": agent_id,
                "info": json.dumps(dict(info)),
                "created_at": now,
                "active_at": now,
                "since": now - self._timeout_seconds,
            }
            if (await connection.execute(_CREATE, row)).rowcount == 0:
                raise ConflictError(
                    f"You have {MAX_SESSIONS} sessions, which is the limit. End one with "
                    "end_agent_session.",
                    details={"limit": MAX_SESSIONS},
                )
        return made

    async def get(self, owner: str, session_id: str) -> AgentSession:
        """A session of that owner.

        Raises:
            NotFoundError: There is none, or no more.
        """
        async with self._database.read() as connection:
            wanted = select(*_SHOWN).where(sessions.c.id == session_id, *self._live(owner))
            found = (await connection.execute(wanted)).mappings().one_or_none()
        if found is None:
            raise gone()
        return session_of(found)

    async def has(self, owner: str, session_id: str) -> bool:
        """Whether the owner has that session."""
        wanted = select(sessions.c.id).where(sessions.c.id == session_id, *self._live(owner))
        async with self._database.read() as connection:
            return await connection.scalar(wanted) is not None

    async def all(self, owner: str, limit: int, after: str | None = None) -> list[AgentSession]:
        """The owner's sessions, the newest first.

        Args:
            owner: Whose.
            limit: How many at most.
            after: The session that comes before them.

        Raises:
            NotFoundError: There is no such session any more.
        """
        wanted = select(*_SHOWN).where(*self._live(owner))
        if after is not None:
            place = (await self.get(owner, after)).created_at
            wanted = wanted.where(
                (sessions.c.created_at < place)
                | ((sessions.c.created_at == place) & (sessions.c.id > after))
            )
        order = (sessions.c.created_at.desc(), sessions.c.id)
        async with self._database.read() as connection:
            rows = await connection.execute(wanted.order_by(*order).limit(limit))
            return [session_of(each) for each in rows.mappings()]

    async def end(self, owner: str, session_id: str) -> AgentSession:
        """Ends a session for good, with its context.

        Raises:
            NotFoundError: There is none, or no more.
        """
        gone_now = (
            delete(sessions)
            .where(sessions.c.id == session_id, *self._live(owner))
            .returning(*_SHOWN)
        )
        async with self._database.begin() as connection:
            found = (await connection.execute(gone_now)).mappings().one_or_none()
        if found is None:
            raise gone()
        return session_of(found)

    async def context(self, owner: str, session_id: str) -> Context:
        """What a session keeps.

        Raises:
            NotFoundError: There is no such session.
        """
        async with self._database.read() as connection:
            return await self._context(connection, owner, session_id, lock=False)

    async def change_context(
        self,
        owner: str,
        session_id: str,
        values: Mapping[str, str],
        removed: Collection[str],
        expected: int | None,
    ) -> Context:
        """Changes what a session keeps, if it is at an expected version.

        Args:
            owner: Whose session it is.
            session_id: The session.
            values: JSON texts by key.
            removed: Keys that go; those that are not there are gone already.
            expected: The version; `None` for any.

        Raises:
            NotFoundError: There is no such session.
            ConflictError: It is at another version, or would keep more than a session may.
        """
        async with self._database.begin() as connection:
            before = await self._context(connection, owner, session_id, lock=True)
            if expected is not None and expected != before.version:
                raise ConflictError(
                    f"expected_version: the context is at version {before.version}. Read it with "
                    "get_agent_context and try again. Nothing was changed.",
                    field="expected_version",
                    details={"version": before.version},
                )
            kept = {key: each for key, each in before.values.items() if key not in removed}
            after = Context(before.version + 1, {**kept, **values})
            stored = _joined(after.values)
            _check_size(after, stored)
            await connection.execute(
                update(sessions)
                .where(sessions.c.id == session_id)
                .values(context=stored, context_version=after.version)
            )
        return after

    async def add(self, activities: Mapping[Owned, Activity]) -> None:
        """Stores the calls of sessions.

        Those of a session that had ended by then, or is somebody else's, are nobody's.
        """
        if not activities:
            return
        # In one order everywhere, so that no two replicas wait for each other.
        rows = [
            {
                "of": session_id,
                "by": owner,
                "since": each.active_at - self._timeout_seconds,
                "more": each.figures.requests,
                "failed": each.figures.errors,
                "took": each.figures.total_ms,
                "slowest": each.figures.slowest_ms,
                "active": each.active_at,
            }
            for (owner, session_id), each in sorted(
                activities.items(), key=lambda one: one[0][::-1]
            )
        ]
        async with self._database.begin() as connection:
            await connection.execute(_ADD, rows)

    async def _context(
        self, connection: AsyncConnection, owner: str, session_id: str, *, lock: bool
    ) -> Context:
        wanted = select(sessions.c.context_version, sessions.c.context).where(
            sessions.c.id == session_id, *self._live(owner)
        )
        if lock:
            wanted = locked(wanted, connection, sessions)
        found = (await connection.execute(wanted)).one_or_none()
        if found is None:
            raise gone()
        return Context(found.context_version, _parted(found.context))

    def _live(self, owner: str) -> tuple[Any, ...]:
        since = self._clock() - self._timeout_seconds
        return sessions.c.owner == owner, sessions.c.active_at > since

    async def _tidy(self) -> None:
        """Removes some of what has expired: once a minute, or as long as there is much of it."""
        now = self._clock()
        if now - self._tidied_at < _TIDY_SECONDS:
            return
        over = sessions.c.active_at <= now - self._timeout_seconds
        async with self._database.begin() as connection:
            some = select(sessions.c.id).where(over).limit(_TIDY_ROWS)
            if on_postgresql(connection):
                some = some.with_for_update(skip_locked=True)
            gone_now = await connection.execute(delete(sessions).where(sessions.c.id.in_(some)))
        if gone_now.rowcount < _TIDY_ROWS:
            # Else there is more, and sessions would expire faster than they are removed.
            self._tidied_at = now


_NEW: Final = {
    "requests": 0,
    "errors": 0,
    "total_ms": 0.0,
    "slowest_ms": 0.0,
    "context": "{}",
    "context_version": 0,
}
_COUNTED: Final = (
    select(sessions.c.active_at)
    .where(sessions.c.owner == bindparam("owner"), sessions.c.active_at > bindparam("since"))
    .limit(MAX_SESSIONS)
    .subquery()
)
# Prepared once: to put such a statement together takes longer than to run it.
_CREATE: Final = sessions.insert().from_select(
    [each.name for each in sessions.c],
    select(
        *(
            literal(_NEW[each.name], each.type)
            if each.name in _NEW
            else bindparam(each.name, type_=each.type)
            for each in sessions.c
        )
    ).where(select(func.count()).select_from(_COUNTED).scalar_subquery() < MAX_SESSIONS),
)
_ADD: Final = (
    update(sessions)
    .where(
        sessions.c.id == bindparam("of"),
        sessions.c.owner == bindparam("by"),
        sessions.c.active_at > bindparam("since"),
    )
    .values(
        requests=sessions.c.requests + bindparam("more"),
        errors=sessions.c.errors + bindparam("failed"),
        total_ms=sessions.c.total_ms + bindparam("took"),
        slowest_ms=case(
            (sessions.c.slowest_ms < bindparam("slowest"), bindparam("slowest")),
            else_=sessions.c.slowest_ms,
        ),
        active_at=case(
            (sessions.c.active_at < bindparam("active"), bindparam("active")),
            else_=sessions.c.active_at,
        ),
    )
)


def gone(field: str = "session_id") -> NotFoundError:
    """The error for a session that is not there, not there any more, or somebody else's."""
    return NotFoundError(f"{field}: {_GONE}", field=field)


def _check_size(context: Context, stored: str) -> None:
    if len(context.values) > MAX_CONTEXT_KEYS:
        limit, of_what = MAX_CONTEXT_KEYS, "keys"
    elif len(stored.encode()) > MAX_CONTEXT_BYTES:
        limit, of_what = MAX_CONTEXT_BYTES, "bytes"
    else:
        return
    raise ConflictError(
        f"A context holds at most {limit} {of_what}. Delete some keys. Nothing was changed.",
        details={"limit": limit, "limit_of": of_what},
    )


def _joined(values: Mapping[str, str]) -> str:
    return msgspec.json.encode(
        {key: msgspec.Raw(value.encode()) for key, value in values.items()}
    ).decode()


def _parted(stored: str) -> dict[str, str]:
    raw = msgspec.json.decode(stored, type=dict[str, msgspec.Raw])
    return {key: bytes(value).decode() for key, value in raw.items()}


def session_of(row: RowMapping) -> AgentSession:
    """The session of a row, which need not have its context."""
    return AgentSession(
        id=row["id"],
        agent_id=row["agent_id"],
        info=json.loads(row["info"]),
        created_at=row["created_at"],
        active_at=row["active_at"],
        figures=Figures(row["requests"], row["errors"], row["total_ms"], row["slowest_ms"]),
        context_version=row["context_version"],
    )
