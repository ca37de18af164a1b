"""The way into a workspace: who takes part reads it, and changes it one after the other.

For everybody else it is as if it did not exist: one query finds the workspace and the part of the
caller in it together, or nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import RowMapping, Select, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.errors import ForbiddenError, NotFoundError
from kailash_mcp_prod.sessions.collaboration_tables import events, members, workspaces
from kailash_mcp_prod.sessions.collaboration_values import (
    JOINED,
    MAX_CHANGES,
    MEMBER,
    OBSERVER,
    OWNER,
    Part,
)
from kailash_mcp_prod.sessions.dialects import now_of, on_postgresql
from kailash_mcp_prod.sessions.identity import Caller
from kailash_mcp_prod.state.database import StateDatabase

_TRIM_EACH: Final = 100

PART: Final[Select[Any]] = select(
    workspaces.c.id,
    workspaces.c.name,
    workspaces.c.revision,
    workspaces.c.created_at,
    workspaces.c.expires_at,
    members.c.role,
    members.c.state,
    members.c.invited_by,
).select_from(workspaces.join(members, members.c.workspace_id == workspaces.c.id))


def part_of(row: RowMapping) -> Part:
    """The part that a row of `PART` holds."""
    return Part(**{str(name): value for name, value in row.items()})


def no_workspace() -> NotFoundError:
    """The error for a workspace that is not there, is over, or is none of the caller's business."""
    return NotFoundError(
        "workspace_id: there is no such workspace in which you take part. list_collaborations "
        "names yours.",
        field="workspace_id",
    )


@dataclass(slots=True)
class Change:
    """One change of a workspace by a member, in a transaction that is alone with the workspace.

    `revision` is the number of the change, and `now` when it is made. `also` are further columns of
    the workspace that get new values.
    """

    connection: AsyncConnection
    part: Part
    revision: int
    now: float
    caller: Caller
    action: str = ""
    subject: str = ""
    audience: Collection[str] = ()
    also: dict[str, Any] = field(default_factory=dict)

    def tell(self, action: str, subject: str = "", audience: Collection[str] = ()) -> None:
        """Says what is done, for those who list the changes.

        Args:
            action: Such as `wrote`.
            subject: What it is done to; no values.
            audience: The addresses of those whom it concerns; nobody for all members.
        """
        self.action, self.subject, self.audience = action, subject, audience

    async def store(self) -> None:
        """Stores that it was made."""
        await self.connection.execute(
            update(workspaces)
            .where(workspaces.c.id == self.part.id)
            .values(revision=self.revision, changed_at=self.now, **self.also)
        )
        await self.connection.execute(
            events.insert().values(
                workspace_id=self.part.id,
                revision=self.revision,
                at=self.now,
                actor=self.caller.name,
                action=self.action,
                subject=self.subject,
                audience=" ".join(sorted(self.audience)),
            )
        )
        if self.revision % _TRIM_EACH == 0:
            old = self.revision - MAX_CHANGES
            await self.connection.execute(
                delete(events).where(
                    events.c.workspace_id == self.part.id, events.c.revision <= old
                )
            )


class Access:
    """Lets members into the workspaces of one database.

    Args:
        database: The state.
        changed: Hears of each workspace that was changed, once that is stored.
    """

    def __init__(self, database: StateDatabase, changed: Callable[[str], None]) -> None:
        self.database = database
        self.changed = changed

    @asynccontextmanager
    async def reading(
        self, caller: Caller, workspace_id: str, *, tidying: bool = False
    ) -> AsyncIterator[tuple[AsyncConnection, Part]]:
        """A transaction that reads a workspace in which the caller takes part.

        Args:
            caller: Who reads.
            workspace_id: The workspace.
            tidying: Whether the transaction removes something of the caller's own.

        Raises:
            NotFoundError: There is none.
        """
        transaction = self.database.begin if tidying else self.database.read
        async with transaction() as connection:
            wanted = PART.where(*_joined(caller, workspace_id), alive(connection))
            found = (await connection.execute(wanted)).mappings().one_or_none()
            if found is None:
                raise no_workspace()
            yield connection, part_of(found)

    @asynccontextmanager
    async def changing(
        self, caller: Caller, workspace_id: str, role: str = MEMBER
    ) -> AsyncIterator[Change]:
        """A transaction that changes a workspace; stored at the end of the block.

        Args:
            caller: Who changes it.
            workspace_id: The workspace.
            role: Who may: everybody with `OBSERVER`, owners and members with `MEMBER`.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
            ForbiddenError: Its role does not allow this.
        """
        async with self.opening(caller, PART.where(*_joined(caller, workspace_id))) as change:
            require_role(change.part, role)
            yield change

    @asynccontextmanager
    async def opening(self, caller: Caller, wanted: Select[Any]) -> AsyncIterator[Change]:
        """The same for whatever part of the caller in a workspace a statement on `PART` finds."""
        async with self.database.begin() as connection:
            statement = wanted.add_columns(now_of(connection).label("now")).where(alive(connection))
            if on_postgresql(connection):
                # Who waits for the lock sees the part as it was before; so it is read after that.
                # Nobody else comes to wait here.
                await connection.execute(statement.with_for_update(of=workspaces))
            found = (await connection.execute(statement)).mappings().one_or_none()
            if found is None:
                raise no_workspace()
            row = dict(found)
            now = row.pop("now")
            part = Part(**row)
            change = Change(connection, part, part.revision + 1, now, caller)
            yield change
            await change.store()
        self.changed(part.id)


def alive(connection: AsyncConnection) -> Any:
    """Whether a workspace is not over."""
    return workspaces.c.expires_at > now_of(connection)


def _joined(caller: Caller, workspace_id: str) -> tuple[Any, ...]:
    return (
        workspaces.c.id == workspace_id,
        and_(members.c.owner == caller.owner, members.c.state == JOINED),
    )


def require_role(part: Part, role: str) -> None:
    """Sees that whose part it is may do what needs a role.

    Raises:
        ForbiddenError: It may not.
    """
    ranks = (OBSERVER, MEMBER, OWNER)
    if ranks.index(part.role) < ranks.index(role):
        needed = OWNER if role == OWNER else f"{MEMBER} or {OWNER}"
        raise ForbiddenError(
            f"You are {part.role} of this workspace; this needs the role {needed}. Nothing was "
            "changed."
        )
