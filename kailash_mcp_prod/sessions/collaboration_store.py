"""Workspaces in the state: who takes part in which, and as what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.sessions import collaboration_roster as roster
from kailash_mcp_prod.sessions.collaboration_access import PART, Access, Change, alive, part_of
from kailash_mcp_prod.sessions.collaboration_board import Blackboard
from kailash_mcp_prod.sessions.collaboration_leases import Leases
from kailash_mcp_prod.sessions.collaboration_mail import Mailboxes
from kailash_mcp_prod.sessions.collaboration_tables import (
    PARTS,
    TABLES,
    events,
    leases,
    members,
    workspaces,
)
from kailash_mcp_prod.sessions.collaboration_values import (
    INVITED,
    JOINED,
    MAX_WORKSPACES,
    OBSERVER,
    OWNER,
    WORKSPACE_PREFIX,
    Event,
    Lease,
    Member,
    Part,
    Workspace,
)
from kailash_mcp_prod.sessions.dialects import now_of, on_postgresql, take_turn
from kailash_mcp_prod.sessions.identity import Caller, address_of
from kailash_mcp_prod.state.database import StateDatabase

__all__ = ["TABLES", "WorkspaceStore"]

_TIDY_SECONDS: Final = 60.0
_TIDY_ROWS: Final = 50
_WINDOW_SECONDS: Final = 15.0
_MOST_NEWS: Final = 10_000


class WorkspaceStore:
    """The workspaces of one database.

    Every method raises `UnavailableError` when the database does not answer, and `NotFoundError`
    for a workspace in which the caller takes no part, in the same words as for none.

    Args:
        database: The state.
        changed: Hears of each workspace that was changed.
    """

    def __init__(self, database: StateDatabase, changed: Callable[[str], None]) -> None:
        self._database = database
        self._access = Access(database, changed)
        self.board = Blackboard(self._access)
        self.mail = Mailboxes(self._access)
        self.leases = Leases(self._access)
        self._tidied_at = 0.0

    async def create(
        self, caller: Caller, name: str, agents: Mapping[str, str], ttl_seconds: float
    ) -> str:
        """Makes a workspace that the caller owns; returns its id.

        Args:
            caller: Who.
            name: What it is called.
            agents: The roles of those who are invited, by agent.
            ttl_seconds: How long it lasts.

        Raises:
            ConflictError: The caller has as many as one may have, or invites too many, or itself.
        """
        await self._tidy()
        workspace_id = f"{WORKSPACE_PREFIX}{secrets.token_urlsafe(24)}"
        async with self._database.begin() as connection:
            await take_turn(connection, caller.owner)
            own = (workspaces.c.creator == caller.owner, alive(connection))
            count = await connection.scalar(
                select(func.count()).select_from(workspaces).where(*own)
            )
            if (count or 0) >= MAX_WORKSPACES:
                raise ConflictError(
                    f"You have {MAX_WORKSPACES} workspaces, which is the limit. Close one with "
                    "leave_collaboration. Nothing was changed.",
                    details={"limit": MAX_WORKSPACES},
                )
            now = await connection.scalar(select(now_of(connection))) or time.time()
            await connection.execute(
                workspaces.insert().values(
                    id=workspace_id,
                    name=name,
                    creator=caller.owner,
                    revision=0,
                    board_bytes=0,
                    created_at=now,
                    changed_at=now,
                    expires_at=now + ttl_seconds,
                )
            )
            await connection.execute(
                members.insert().values(
                    workspace_id=workspace_id,
                    address=caller.address,
                    owner=caller.owner,
                    name=caller.name,
                    role=OWNER,
                    state=JOINED,
                    invited_by=caller.name,
                )
            )
            part = Part(workspace_id, name, OWNER, JOINED, caller.name, 0, now, now + ttl_seconds)
            change = Change(connection, part, 1, now, caller)
            await roster.invite(change, agents)
            await roster.require_owner(change)
            change.tell("created", ", ".join(agents))
            await change.store()
        return workspace_id

    async def invite(
        self,
        caller: Caller,
        workspace_id: str,
        agents: Mapping[str, str],
        *,
        name: str | None = None,
        ttl_seconds: float | None = None,
    ) -> None:
        """Invites agents, or gives those who take part other roles.

        Args:
            caller: An owner.
            workspace_id: The workspace.
            agents: Roles by agent.
            name: What it is called from now on.
            ttl_seconds: How long it lasts from now.

        Raises:
            ForbiddenError: The caller is no owner.
            ConflictError: There would be too many members, or no owner.
        """
        async with self._access.changing(caller, workspace_id, OWNER) as change:
            await roster.invite(change, agents)
            await roster.require_owner(change)
            if name is not None:
                change.also["name"] = name
            if ttl_seconds is not None:
                change.also["expires_at"] = change.now + ttl_seconds
            change.tell("invited" if agents else "changed", ", ".join(agents))

    async def respond(self, caller: Caller, workspace_id: str, *, accept: bool) -> str:
        """Accepts or declines an invitation; returns the role.

        Raises:
            ConflictError: The caller takes part already.
        """
        invited = and_(members.c.address == caller.address, members.c.state == INVITED)
        taken = and_(members.c.owner == caller.owner, members.c.state == JOINED)
        wanted = PART.where(workspaces.c.id == workspace_id, or_(invited, taken)).order_by(
            members.c.state.desc()
        )
        async with self._access.opening(caller, wanted.limit(1)) as change:
            if change.part.state == JOINED:
                raise ConflictError(
                    "workspace_id: you take part in this workspace already.", field="workspace_id"
                )
            own = roster.place(change, caller.address)
            if accept:
                await change.connection.execute(
                    update(members).where(*own).values(owner=caller.owner, state=JOINED)
                )
            else:
                await change.connection.execute(delete(members).where(*own))
            change.tell("joined" if accept else "declined")
        return change.part.role

    async def leave(self, caller: Caller, workspace_id: str) -> None:
        """Ends the caller's own part.

        Raises:
            ConflictError: It is the only owner.
        """
        async with self._access.changing(caller, workspace_id, OBSERVER) as change:
            await roster.remove(change, caller.address, caller.owner)
            await roster.require_owner(change)
            change.tell("left")

    async def remove(self, caller: Caller, workspace_id: str, agent_id: str) -> None:
        """Ends the part of another agent, or its invitation.

        Raises:
            ForbiddenError: The caller is no owner.
            NotFoundError: That agent takes no part.
        """
        async with self._access.changing(caller, workspace_id, OWNER) as change:
            address = address_of(caller.tenant, agent_id)
            wanted = select(members.c.owner).where(*roster.place(change, address))
            found = (await change.connection.execute(wanted)).one_or_none()
            if found is None:
                raise roster.no_member(agent_id, "agent_id")
            await roster.remove(change, address, found.owner)
            await roster.require_owner(change)
            change.tell("removed", agent_id)

    async def close(self, caller: Caller, workspace_id: str) -> None:
        """Ends a workspace for all.

        Raises:
            ForbiddenError: The caller is no owner.
        """
        async with self._access.changing(caller, workspace_id, OWNER) as change:
            change.also["expires_at"] = change.now
            change.tell("closed")

    async def parts(self, caller: Caller, limit: int) -> tuple[list[Part], list[Part]]:
        """The workspaces in which the caller takes part, and those to which it is invited.

        The newest come first, so many of each at most.
        """
        found: list[list[Part]] = []
        order = (workspaces.c.created_at.desc(), workspaces.c.id)
        async with self._database.read() as connection:
            for those in (
                and_(members.c.owner == caller.owner, members.c.state == JOINED),
                and_(members.c.address == caller.address, members.c.state == INVITED),
            ):
                wanted = PART.where(those, alive(connection)).order_by(*order).limit(limit)
                rows = (await connection.execute(wanted)).mappings()
                found.append([part_of(each) for each in rows])
        return found[0], found[1]

    async def get(
        self, caller: Caller, workspace_id: str, *, since: int | None, limit: int
    ) -> Workspace:
        """A workspace as the caller may know it.

        Args:
            caller: A member.
            workspace_id: The workspace.
            since: The revision after which changes are told; by default the last ones are.
            limit: How many changes at most.
        """
        async with self._access.reading(caller, workspace_id) as (connection, part):
            rows = await connection.execute(
                select(members.c.name, members.c.role, members.c.state)
                .where(members.c.workspace_id == workspace_id)
                .order_by(members.c.name)
            )
            who = [Member(*each) for each in rows]
            changes = await _changes(connection, part, caller, since, limit + 1)
            rows = await connection.execute(
                select(
                    leases.c.model,
                    leases.c.record,
                    leases.c.holder,
                    leases.c.token,
                    leases.c.expires_at,
                )
                .where(
                    leases.c.workspace_id == workspace_id,
                    leases.c.expires_at > now_of(connection),
                )
                .order_by(leases.c.token)
            )
            held = [Lease(*tuple(each)) for each in rows]
        more = len(changes) > limit
        if more:
            changes = changes[:limit] if since is not None else changes[1:]
        return Workspace(part, who, held, changes, more)

    async def members_of(self, ids: Collection[str]) -> dict[str, tuple[int, frozenset[str]]]:
        """By workspace its revision and the owners of those who take part, also of one just closed.

        Args:
            ids: The workspaces; those that are not there are left out.
        """
        wanted = (
            select(workspaces.c.id, workspaces.c.revision, members.c.owner)
            .join(members, members.c.workspace_id == workspaces.c.id)
            .where(workspaces.c.id.in_(ids), members.c.state == JOINED)
        )
        found: dict[str, tuple[int, set[str]]] = {}
        async with self._database.read() as connection:
            for each in await connection.execute(wanted):
                found.setdefault(each.id, (each.revision, set()))[1].add(each.owner)
        return {key: (revision, frozenset(who)) for key, (revision, who) in found.items()}

    async def lately(self) -> dict[str, tuple[int, float]]:
        """The revisions of the workspaces that changed lately, and how many seconds ago that was.

        Lately is longer ago than a change may take to be stored.
        """
        async with self._database.read() as connection:
            now = now_of(connection)
            rows = await connection.execute(
                select(workspaces.c.id, workspaces.c.revision, now - workspaces.c.changed_at)
                .where(workspaces.c.changed_at > now - _WINDOW_SECONDS)
                .limit(_MOST_NEWS)
            )
            return {key: (revision, ago) for key, revision, ago in rows}

    async def _tidy(self) -> None:
        """Removes some of what is over: once a minute, or as long as there is much of it."""
        if time.monotonic() - self._tidied_at < _TIDY_SECONDS:
            return
        began = time.monotonic()
        async with self._database.begin() as connection:
            # For a while they are kept, so that members hear of the end.
            over = workspaces.c.expires_at < now_of(connection) - _TIDY_SECONDS
            some: Select[Any] = select(workspaces.c.id).where(over).limit(_TIDY_ROWS)
            if on_postgresql(connection):
                some = some.with_for_update(skip_locked=True)
            ids: Sequence[str] = (await connection.execute(some)).scalars().all()
            if ids:
                for table in PARTS:
                    await connection.execute(delete(table).where(table.c.workspace_id.in_(ids)))
                await connection.execute(delete(workspaces).where(workspaces.c.id.in_(ids)))
        if len(ids) < _TIDY_ROWS:
            # Else there is more: who closes what it makes could make more than is removed.
            self._tidied_at = began


async def _changes(
    connection: AsyncConnection, part: Part, caller: Caller, since: int | None, limit: int
) -> list[Event]:
    """The changes in their order; without `since` the last ones."""
    wanted = select(
        events.c.revision, events.c.at, events.c.actor, events.c.action, events.c.subject
    ).where(events.c.workspace_id == part.id)
    if part.role != OWNER:
        wanted = wanted.where(
            or_(events.c.audience == "", events.c.audience.contains(caller.address))
        )
    if since is None:
        rows = await connection.execute(wanted.order_by(events.c.revision.desc()).limit(limit))
        return [Event(*each) for each in rows][::-1]
    rows = await connection.execute(
        wanted.where(events.c.revision > since).order_by(events.c.revision).limit(limit)
    )
    return [Event(*each) for each in rows]
