"""Keeps workflow sessions and their steps, in the database of the records.

What a step has changed and that it is done are stored in one transaction wherever that can be: then
no crash can part the two.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.records.store import RecordStore, Transaction
from kailash_mcp_prod.sessions.dialects import on_postgresql
from kailash_mcp_prod.sessions.workflow_rows import (
    SESSION_COLUMNS,
    STEP_COLUMNS,
    json_text,
    session_of,
    session_values,
    step_of,
    step_values,
)
from kailash_mcp_prod.sessions.workflow_state import (
    Session,
    Status,
    Step,
    driven,
    moved_on,
    require_room,
)

MAX_SESSIONS_OF_ONE: Final = 1000
LEASE_SECONDS: Final = 5.0
_TIDY_ROWS: Final = 200

_S: Final = "mcp_workflow_sessions"
_T: Final = "mcp_workflow_steps"

# All of it is put together from constants.
_FIND: Final = f"SELECT {SESSION_COLUMNS} FROM {_S} WHERE id = $1 AND owner = $2"  # noqa: S608
_FIND_STEPS: Final = f"""
SELECT {STEP_COLUMNS} FROM {_T} WHERE session_id = $1
    AND EXISTS (SELECT 1 FROM {_S} WHERE id = $1 AND owner = $2)
"""  # noqa: S608
_ADD: Final = f"""
INSERT INTO {_S} ({SESSION_COLUMNS}) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)
ON CONFLICT (id) DO NOTHING RETURNING id
"""  # noqa: S608
_COUNT: Final = f"SELECT count(*) FROM {_S} WHERE owner = $1 AND expires_at > $2"  # noqa: S608
_MOVE: Final = f"""
UPDATE {_S} SET version = version + 1, result_bytes = $4, updated_at = $5,
    expires_at = $6, status = $7, error = $8
WHERE id = $1 AND owner = $2 AND version = $3 RETURNING version
"""  # noqa: S608
# A step that failed may be tried again, and one whose holder is gone be taken over.
_PUT: Final = f"""
INSERT INTO {_T} (session_id, {STEP_COLUMNS})
VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)
ON CONFLICT (session_id, path) DO UPDATE SET
    number = excluded.number, type = excluded.type, digest = excluded.digest,
    status = excluded.status, started_at = excluded.started_at, result = excluded.result,
    error = excluded.error, undo = excluded.undo, call = excluded.call, token = excluded.token,
    lease_until = excluded.lease_until, finished_at = excluded.finished_at
WHERE {_T}.status = 'failed' OR ({_T}.status = 'running'
    AND ({_T}.token = excluded.token OR {_T}.lease_until <= $15))
RETURNING path
"""  # noqa: S608
_HOLD: Final = f"""
UPDATE {_T} SET lease_until = $4
WHERE session_id = $1 AND path = $2 AND token = $3 AND status = 'running' RETURNING path
"""  # noqa: S608
_RELEASE: Final = f"""
UPDATE {_T} SET lease_until = 0
WHERE session_id = $1 AND path = $2 AND token = $3 AND status = 'running' RETURNING path
"""  # noqa: S608
_OVER: Final = f"""
SELECT id FROM {_S} WHERE (owner = $1 OR $1 = '') AND expires_at <= $2 LIMIT {_TIDY_ROWS}
"""  # noqa: S608
_OWN: Final = f"""
SELECT {SESSION_COLUMNS} FROM {_S} WHERE owner = $1 ORDER BY created_at, id LIMIT 2000
"""  # noqa: S608
_DROP: Final = f"DELETE FROM {_S} WHERE id = $1 RETURNING id"  # noqa: S608
_DROP_OWN: Final = f"DELETE FROM {_S} WHERE id = $1 AND owner = $2 RETURNING id"  # noqa: S608
_DROP_STEPS: Final = f"DELETE FROM {_T} WHERE session_id = $1"  # noqa: S608
_HAND_OVER: Final = f"""
UPDATE {_S} SET owner = $3, version = version + 1, updated_at = $4
WHERE id = $1 AND owner = $2 AND expires_at > $4 RETURNING status
"""  # noqa: S608
_HELD: Final = f"""
SELECT path, lease_until FROM {_T} WHERE session_id = $1 AND status = 'running'
ORDER BY lease_until DESC LIMIT 1
"""  # noqa: S608
# As `Step.undoing` reads it. No step has a member `of`.
_CLAIM_UNDO: Final = f"""
UPDATE {_T} SET undo = CAST($2 AS TEXT) || undo || '}}'
WHERE session_id = $1 AND undo IS NOT NULL AND undo NOT LIKE '{{"of":%'
"""  # noqa: S608

_ON_SQLITE: Final = {
    text: text.replace("$", "?")
    for name, text in tuple(globals().items())
    if name.startswith("_") and isinstance(text, str) and "$1" in text
}

Opened = Callable[[], Awaitable[tuple[RecordStore, bool]]]
"""The store of the records, with the tables made, and whether it is on PostgreSQL."""

Rows = Sequence[Sequence[Any]]
Run = Callable[..., Awaitable[Sequence[Rows]]]
"""Runs statements in an open transaction, each a text with its values; the rows of each."""


class WorkflowStore:
    """The workflow sessions in one database.

    Args:
        opened: Where they are.
        clock: Unix seconds.
    """

    def __init__(self, opened: Opened, clock: Callable[[], float] = time.time) -> None:
        self._opened = opened
        self.clock = clock

    async def add(self, session: Session) -> bool:
        """Keeps a new session; whether there was none of that id.

        Raises:
            ConflictError: Its owner has too many.
        """
        now = self.clock()
        async with self._transaction() as run:
            await self._tidy(run, "", now)
            [[[count]]] = await run((_COUNT, (session.owner, now)))
            if count >= MAX_SESSIONS_OF_ONE:
                raise ConflictError(
                    f"You have {count} workflow sessions already. Remove some with "
                    "cleanup_workflow_sessions.",
                    details={"limit": MAX_SESSIONS_OF_ONE},
                )
            [added] = await run((_ADD, session_values(session)))
            return bool(added)

    async def find(self, session_id: str, owner: str) -> Session:
        """The session with its steps.

        Raises:
            NotFoundError: There is none of that id, or it is somebody else's, or over.
        """
        async with self._transaction() as run:
            rows, steps = await run(
                (_FIND, (session_id, owner)), (_FIND_STEPS, (session_id, owner))
            )
        if not rows or rows[0][10] <= self.clock():
            raise NotFoundError(
                "There is no workflow session of this id: it may have expired. Make one with "
                "create_agent_workflow_session.",
                field="workflow_session_id",
            )
        return session_of(rows[0]).with_steps(map(step_of, steps))

    async def put(
        self,
        session: Session,
        step: Step,
        *,
        within: Transaction | None = None,
        status: Status | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> Session:
        """Keeps a step of the session, and that the session has gone on by it.

        Args:
            session: The session as it was when the step was looked at.
            step: The step, at the top.
            within: The transaction that keeps it; by default one of its own.
            status: What becomes of the session.
            error: Why.

        Raises:
            MovedOnError: Somebody else has gone on with the session meanwhile.
            ConflictError: It would become too large.
        """
        after = session.with_steps([step])
        if step.size:
            require_room(after.result_bytes)
        turned = replace(
            after,
            status=status or session.status,
            error=session.error if error is None else error,
        )
        moved: Session = await self._write(within, lambda run: self._moved(run, turned, step))
        return moved

    async def put_part(
        self, session_id: str, step: Step, holder: Step, *, within: Transaction | None = None
    ) -> None:
        """Keeps a step inside another one, which the caller still holds.

        Raises:
            MovedOnError: Somebody else holds it by now, or has kept the step.
        """

        async def write(run: Run) -> None:
            now = self.clock()
            held, put = await run(
                (_HOLD, (session_id, holder.path, holder.token, now + LEASE_SECONDS)),
                (_PUT, (*step_values(session_id, step), now)),
            )
            if not held or not put:
                raise moved_on()

        await self._write(within, write)

    async def hold(self, session_id: str, step: Step) -> bool:
        """Goes on holding a running step; whether the caller still does."""
        async with self._transaction() as run:
            until = self.clock() + LEASE_SECONDS
            [held] = await run((_HOLD, (session_id, step.path, step.token, until)))
            return bool(held)

    async def release(self, session_id: str, step: Step) -> None:
        """Lets others take a running step over at once."""
        async with self._transaction() as run:
            await run((_RELEASE, (session_id, step.path, step.token)))

    async def turn(self, session: Session) -> Session:
        """Keeps another status of the session.

        Args:
            session: With that status.

        Raises:
            MovedOnError: Somebody else has gone on with the session meanwhile.
        """
        async with self._transaction() as run:
            return await self._moved(run, session, None)

    async def of(self, owner: str) -> list[Session]:
        """The sessions of an owner, the oldest first, without their steps."""
        async with self._transaction() as run:
            [rows] = await run((_OWN, (owner,)))
            return [session_of(row) for row in rows]

    async def remove(self, session_ids: Sequence[str], owner: str) -> list[str]:
        """Removes sessions of an owner; the ids of those that were there."""
        removed = []
        async with self._transaction() as run:
            for each in session_ids:
                [found] = await run((_DROP_OWN, (each, owner)))
                if found:
                    await run((_DROP_STEPS, (each,)))
                    removed.append(each)
        return removed

    async def transfer(
        self, connection: AsyncConnection, session_id: str, from_owner: str, to_owner: str
    ) -> None:
        """Makes a session somebody else's, between two of its steps.

        What undoes the steps so far stays with the one who has done them: under the permissions of
        somebody else it might do what that one would never have asked for.

        Args:
            connection: A transaction of the state, in which it is done.
            session_id: The session.
            from_owner: Whose it is; see `owner_of`.
            to_owner: Whose it becomes.

        Raises:
            NotFoundError: There is no such session of that owner.
            DrivenError: A step of it is running.
            ConflictError: It is being undone, a step was interrupted, or the other has too many.
        """
        now = self.clock()
        done_by = f'{{"of":{json_text(from_owner)},"step":'
        run = _runner_on(connection)
        [[[count]]] = await run((_COUNT, (to_owner, now)))
        found, held, _ = await run(
            (_HAND_OVER, (session_id, from_owner, to_owner, now)),
            (_HELD, (session_id,)),
            (_CLAIM_UNDO, (session_id, done_by)),
        )
        if not found:
            raise NotFoundError(
                "There is no workflow session of this id.", field="workflow_session_id"
            )
        if held and held[0][1] > now:
            raise driven()
        if held or found[0][0] != "active":
            raise ConflictError(
                "A step of this workflow session was interrupted, or its steps are undone. "
                "Execute a step to bring that to its end first. Nothing was changed.",
                field="workflow_session_id",
            )
        if count >= MAX_SESSIONS_OF_ONE:
            raise ConflictError(
                f"The other agent has {count} workflow sessions already. Nothing was changed.",
                details={"limit": MAX_SESSIONS_OF_ONE},
            )

    async def _moved(self, run: Run, session: Session, step: Step | None) -> Session:
        now = self.clock()
        expires_at = now + session.config.timeout_minutes * 60
        values = (
            session.id,
            session.owner,
            session.version,
            session.result_bytes,
            now,
            expires_at,
            session.status,
            json_text(session.error),
        )
        put = [] if step is None else [(_PUT, (*step_values(session.id, step), now))]
        if not all(await run((_MOVE, values), *put)):
            raise moved_on()
        return replace(session, version=session.version + 1, updated_at=now, expires_at=expires_at)

    async def _tidy(self, run: Run, owner: str, now: float) -> None:
        [over] = await run((_OVER, (owner, now)))
        for [each] in over:
            await run((_DROP, (each,)), (_DROP_STEPS, (each,)))

    async def _write(
        self, within: Transaction | None, work: Callable[[Run], Awaitable[Any]]
    ) -> Any:
        if within is None:
            async with self._transaction() as run:
                return await work(run)
        _, numbered = await self._opened()
        return await work(_runner(within, numbered))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Run]:
        store, numbered = await self._opened()
        async with store.transaction() as transaction:
            yield _runner(transaction, numbered)


def _runner(transaction: Transaction, numbered: bool) -> Run:
    async def run(*statements: tuple[str, Sequence[Any]]) -> Sequence[Rows]:
        return await transaction.statements(
            [(text if numbered else _ON_SQLITE[text], values) for text, values in statements]
        )

    return run


def _runner_on(connection: AsyncConnection) -> Run:
    async def run(*statements: tuple[str, Sequence[Any]]) -> Sequence[Rows]:
        found: list[Rows] = []
        for text, values in statements:
            own = text if on_postgresql(connection) else _ON_SQLITE[text]
            result = await connection.exec_driver_sql(own, tuple(values))
            found.append([tuple(row) for row in result] if result.returns_rows else [])
        return found

    return run
