"""What an operator sees of everybody's sessions, workspaces and workflow sessions.

What agents keep there is theirs: contexts, entries of blackboards, messages and results of steps
are not read here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Select, and_, delete, func, or_, select

from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.sessions import collaboration_tables as of_workspaces
from kailash_mcp_prod.sessions import workflow_tables as of_workflows
from kailash_mcp_prod.sessions.agent_store import TABLES as SESSION_TABLES
from kailash_mcp_prod.sessions.agent_store import session_of, sessions
from kailash_mcp_prod.sessions.agent_values import AgentSession, iso
from kailash_mcp_prod.sessions.collaboration_access import alive
from kailash_mcp_prod.sessions.dialects import now_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from kailash_mcp_prod.state.database import StateDatabase

TABLES: Final = ()
"""Those that have to be made before anything is seen: none."""

Place = tuple[float, str]
"""Where a session stands among all: when it was made, and its id."""

_MOST_STEPS: Final = 500
_SHOWN: Final = [each for each in sessions.c if each.name != "context"]


class Overseer:
    """Reads what all have, or one owner. A table that is not there yet is empty.

    Args:
        database: The state.
        timeout_seconds: How long an agent session lasts without a call.
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

    async def agent_sessions(
        self, limit: int, owner: str | None = None
    ) -> list[tuple[str, AgentSession]]:
        """Agent sessions with the digests of their owners, who was active last first."""
        if not await self._database.has(SESSION_TABLES):
            return []
        wanted = select(*_SHOWN).where(self._live_sessions())
        if owner is not None:
            wanted = wanted.where(sessions.c.owner == owner)
        wanted = wanted.order_by(sessions.c.active_at.desc(), sessions.c.id).limit(limit)
        async with self._database.read() as connection:
            rows = (await connection.execute(wanted)).mappings()
            return [(each["owner"], session_of(each)) for each in rows]

    async def end_agent_session(self, session_id: str) -> dict[str, Any]:
        """Ends anybody's session; what it has done.

        Raises:
            NotFoundError: There is none, or no more.
        """
        if await self._database.has(SESSION_TABLES):
            async with self._database.begin() as connection:
                gone = await connection.execute(
                    delete(sessions)
                    .where(sessions.c.id == session_id, self._live_sessions())
                    .returning(*_SHOWN)
                )
                found = gone.mappings().one_or_none()
            if found is not None:
                figures = session_of(found).figures.to_dict()
                return {"session_id": session_id, "ended": True, **figures}
        raise NotFoundError(
            "session_id: there is no such session. It may have ended or expired.",
            field="session_id",
        )

    async def workspaces(self, limit: int, owner: str | None = None) -> list[dict[str, Any]]:
        """Workspaces that are not over, the one that changed last first."""
        if not await self._database.has(of_workspaces.TABLES):
            return []
        table, members = of_workspaces.workspaces, of_workspaces.members
        async with self._database.read() as connection:
            wanted = select(table).where(alive(connection))
            if owner is not None:
                own = select(members.c.workspace_id).where(members.c.owner == owner)
                wanted = wanted.where(table.c.id.in_(own))
            wanted = wanted.order_by(table.c.changed_at.desc(), table.c.id).limit(limit)
            found = [dict(each) for each in (await connection.execute(wanted)).mappings()]
            ids = [each["id"] for each in found]
            parts = {
                name: await _by_workspace(connection, query, ids)
                for name, query in _parts_of_workspaces(connection).items()
            }
        return [_workspace(each, parts) for each in found]

    async def workflow_sessions(self, limit: int, owner: str | None = None) -> list[dict[str, Any]]:
        """Workflow sessions that are kept, the one that went on last first."""
        if not await self._database.has(of_workflows.WORKFLOW_TABLES):
            return []
        table = of_workflows.sessions
        wanted = select(table).where(table.c.expires_at > self._clock())
        if owner is not None:
            wanted = wanted.where(table.c.owner == owner)
        wanted = wanted.order_by(table.c.updated_at.desc(), table.c.id).limit(limit)
        return [shown for _, shown in await self._workflows(wanted)]

    async def workflow_page(
        self, limit: int, owner: str | None = None, after: Place | None = None
    ) -> list[tuple[Place, dict[str, Any]]]:
        """Workflow sessions that are kept, the newest first, each with its place in that order.

        Args:
            limit: How many at most.
            owner: Whose; `None` is everybody's.
            after: Only those behind this place.
        """
        if not await self._database.has(of_workflows.WORKFLOW_TABLES):
            return []
        table = of_workflows.sessions
        wanted = select(table).where(table.c.expires_at > self._clock())
        if owner is not None:
            wanted = wanted.where(table.c.owner == owner)
        if after is not None:
            at, session_id = after
            wanted = wanted.where(
                or_(
                    table.c.created_at < at,
                    and_(table.c.created_at == at, table.c.id > session_id),
                )
            )
        wanted = wanted.order_by(table.c.created_at.desc(), table.c.id).limit(limit)
        return await self._workflows(wanted)

    async def _workflows(self, wanted: Select[Any]) -> list[tuple[Place, dict[str, Any]]]:
        """The workflow sessions of a query, each with how many steps it has of which status."""
        steps = of_workflows.steps
        async with self._database.read() as connection:
            found = [dict(each) for each in (await connection.execute(wanted)).mappings()]
            counted = await connection.execute(
                select(steps.c.session_id, steps.c.status, func.count())
                .where(
                    steps.c.session_id.in_([each["id"] for each in found]),
                    steps.c.path.not_like("%/%"),
                )
                .group_by(steps.c.session_id, steps.c.status)
            )
            counts: dict[str, dict[str, int]] = {}
            for session_id, status, count in counted:
                counts.setdefault(session_id, {})[status] = count
        return [
            (
                (each["created_at"], each["id"]),
                {**_workflow(each), "steps": counts.get(each["id"], {})},
            )
            for each in found
        ]

    async def workflow_session(self, session_id: str, owner: str | None = None) -> dict[str, Any]:
        """A workflow session with its steps, those inside of others too.

        Raises:
            NotFoundError: There is none of that id, or it is over, or not that owner's.
        """
        if await self._database.has(of_workflows.WORKFLOW_TABLES):
            table, steps = of_workflows.sessions, of_workflows.steps
            wanted = select(table).where(
                table.c.id == session_id, table.c.expires_at > self._clock()
            )
            if owner is not None:
                wanted = wanted.where(table.c.owner == owner)
            columns = [each for each in steps.c if each.name not in {"result", "undo", "digest"}]
            async with self._database.read() as connection:
                found = (await connection.execute(wanted)).mappings().one_or_none()
                if found is not None:
                    rows = await connection.execute(
                        select(*columns, steps.c.undo.is_not(None).label("undoable"))
                        .where(steps.c.session_id == session_id)
                        .order_by(steps.c.number, steps.c.started_at, steps.c.path)
                        .limit(_MOST_STEPS + 1)
                    )
                    listed = [_step(each, self._clock()) for each in rows.mappings()]
                    more = len(listed) > _MOST_STEPS
                    return {**_workflow(found), "steps": listed[:_MOST_STEPS], "more": more}
        raise NotFoundError("There is no workflow session of this id. It may have expired.")

    def _live_sessions(self) -> Any:
        return sessions.c.active_at > self._clock() - self._timeout_seconds


def _parts_of_workspaces(connection: AsyncConnection) -> dict[str, Select[Any]]:
    members, entries = of_workspaces.members, of_workspaces.entries
    messages, leases, events = of_workspaces.messages, of_workspaces.leases, of_workspaces.events
    latest = (
        func.row_number()
        .over(partition_by=events.c.workspace_id, order_by=events.c.revision.desc())
        .label("place")
    )
    recent = select(
        events.c.workspace_id, events.c.at, events.c.actor, events.c.action, latest
    ).subquery()
    return {
        "members": select(
            members.c.workspace_id, members.c.name, members.c.role, members.c.state
        ).order_by(members.c.role.desc(), members.c.name),
        "entries": select(entries.c.workspace_id, func.count()).group_by(entries.c.workspace_id),
        "messages": select(messages.c.workspace_id, func.count()).group_by(messages.c.workspace_id),
        # Not of which records: not everybody may know that these exist.
        "leases": select(
            leases.c.workspace_id, leases.c.model, leases.c.holder, leases.c.expires_at
        )
        .where(leases.c.expires_at > now_of(connection))
        .order_by(leases.c.expires_at),
        "changes": select(
            recent.c.workspace_id, recent.c.at, recent.c.actor, recent.c.action
        ).where(recent.c.place <= 8),
    }


async def _by_workspace(
    connection: AsyncConnection, query: Select[Any], ids: Sequence[str]
) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    first = query.selected_columns[0]
    for workspace_id, *rest in await connection.execute(query.where(first.in_(ids))):
        found.setdefault(workspace_id, []).append(tuple(rest))
    return found


def _workspace(
    row: dict[str, Any], parts: dict[str, dict[str, list[tuple[Any, ...]]]]
) -> dict[str, Any]:
    of = {name: found.get(row["id"], []) for name, found in parts.items()}
    return {
        "workspace_id": row["id"],
        "name": row["name"],
        "revision": row["revision"],
        "board_bytes": row["board_bytes"],
        "created_at": iso(row["created_at"]),
        "changed_at": iso(row["changed_at"]),
        "expires_at": iso(row["expires_at"]),
        "members": [
            {"agent_id": name, "role": role, "state": state} for name, role, state in of["members"]
        ],
        "entries": of["entries"][0][0] if of["entries"] else 0,
        "messages": of["messages"][0][0] if of["messages"] else 0,
        "leases": [
            {"model": model, "agent_id": holder, "expires_at": iso(until)}
            for model, holder, until in of["leases"]
        ],
        "changes": [
            {"at": iso(at), "agent_id": actor, "action": action}
            for at, actor, action in sorted(of["changes"], reverse=True)
        ],
    }


def _workflow(row: Any) -> dict[str, Any]:
    return {
        "workflow_session_id": row["id"],
        "owner": row["owner"],
        "workflow_type": row["workflow_type"],
        "agent_id": row["agent_id"],
        "status": row["status"],
        "error": _error(row["error"]),
        "created_at": iso(row["created_at"]),
        "updated_at": iso(row["updated_at"]),
        "expires_at": iso(row["expires_at"]),
    }


def _step(row: Any, now: float) -> dict[str, Any]:
    running = row["status"] == "running"
    return {
        "path": row["path"],
        "number": row["number"],
        "type": row["type"],
        "status": "interrupted" if running and row["lease_until"] <= now else row["status"],
        "undoable": bool(row["undoable"]),
        "started_at": iso(row["started_at"]),
        "finished_at": None if row["finished_at"] is None else iso(row["finished_at"]),
        "error": _error(row["error"]),
    }


def _error(text: str | None) -> dict[str, Any] | None:
    """The code and the message of an error; its details may be about records."""
    found = None if text is None else msgspec.json.decode(text)
    if not isinstance(found, dict):
        return None
    return {name: found[name] for name in ("code", "message", "step_name") if name in found}
