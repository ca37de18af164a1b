"""The members of a workspace, changed within a transaction on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update

from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.sessions.collaboration_access import Change
from kailash_mcp_prod.sessions.collaboration_tables import leases, members, messages
from kailash_mcp_prod.sessions.collaboration_values import INVITED, JOINED, MAX_MEMBERS, OWNER
from kailash_mcp_prod.sessions.identity import address_of


def no_member(agent_id: str, field: str) -> NotFoundError:
    """The error for an agent that takes no part, whether there is such an agent or not."""
    return NotFoundError(
        f"{field}: no agent {agent_id} takes part in this workspace. Nothing was changed.",
        field=field,
    )


def place(change: Change, address: str) -> tuple[Any, ...]:
    """The part of an address in the workspace that is changed."""
    return members.c.workspace_id == change.part.id, members.c.address == address


async def invite(change: Change, agents: Mapping[str, str]) -> None:
    """Invites agents, and gives those that are known here their new roles.

    Raises:
        ConflictError: There would be too many.
    """
    connection, workspace_id = change.connection, change.part.id
    wanted = {address_of(change.caller.tenant, name): name for name in agents}
    rows = await connection.execute(
        select(members.c.address).where(members.c.workspace_id == workspace_id)
    )
    known = set(rows.scalars())
    if len(known | wanted.keys()) > MAX_MEMBERS:
        raise ConflictError(
            f"A workspace has at most {MAX_MEMBERS} members, those counted that are invited. "
            "Nothing was changed.",
            details={"limit": MAX_MEMBERS},
        )
    for address, name in wanted.items():
        if address in known:
            await connection.execute(
                update(members).where(*place(change, address)).values(role=agents[name])
            )
        else:
            await connection.execute(
                members.insert().values(
                    workspace_id=workspace_id,
                    address=address,
                    owner=None,
                    name=name,
                    role=agents[name],
                    state=INVITED,
                    invited_by=change.caller.name,
                )
            )


async def remove(change: Change, address: str, owner: str | None) -> None:
    """Ends a part, with the mail that waits for it and the leases that it holds."""
    own = change.part.id
    connection = change.connection
    await connection.execute(delete(members).where(*place(change, address)))
    await connection.execute(
        delete(messages).where(messages.c.workspace_id == own, messages.c.recipient == address)
    )
    if owner is not None:
        await connection.execute(
            delete(leases).where(leases.c.workspace_id == own, leases.c.owner == owner)
        )


async def require_owner(change: Change) -> None:
    """Sees that somebody is left who owns the workspace.

    Raises:
        ConflictError: Nobody is.
    """
    left = await change.connection.scalar(
        select(func.count())
        .select_from(members)
        .where(
            members.c.workspace_id == change.part.id,
            members.c.role == OWNER,
            members.c.state == JOINED,
        )
    )
    if not left:
        raise ConflictError(
            "A workspace needs an owner: make another agent one first, and let it accept, or close "
            "the workspace. Nothing was changed."
        )
