"""Leases on records: who works on one, under a fencing token that only ever grows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.sessions.collaboration_access import Access, Change
from kailash_mcp_prod.sessions.collaboration_tables import leases
from kailash_mcp_prod.sessions.collaboration_values import (
    MAX_LEASES,
    RELEASED_LEASE,
    RENEWED_LEASE,
    TOOK_LEASE,
    Lease,
)
from kailash_mcp_prod.sessions.dialects import now_of, upsert
from kailash_mcp_prod.sessions.identity import Caller


class Leases:
    """The leases of one database, by the database's clock.

    The token of a lease is the number of the change that made it. So a later holder has a higher
    one, and whoever works on after its time is over can be told from it.

    Args:
        access: Lets members in.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def check(self, caller: Caller, workspace_id: str) -> None:
        """Sees that the caller takes part.

        Raises:
            NotFoundError: It does not.
        """
        async with self._access.reading(caller, workspace_id):
            pass

    async def acquire(
        self,
        caller: Caller,
        workspace_id: str,
        model: str,
        record: str,
        *,
        seconds: float,
        token: int | None,
    ) -> Lease:
        """Takes a lease, or with its token makes it last on.

        Args:
            caller: A member that is more than an observer.
            workspace_id: The workspace.
            model: The model of the record.
            record: The record's id as JSON.
            seconds: How long it lasts from now.
            token: Of the lease that is to last on.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
            ForbiddenError: It is an observer.
            ConflictError: Somebody holds it, or the token's lease is over, or there are too many.
        """
        async with self._access.changing(caller, workspace_id) as change:
            key = {"workspace_id": workspace_id, "model": model, "record": record}
            held = await _held(change, *(leases.c[name] == value for name, value in key.items()))
            if token is not None:
                if held is None or held.token != token or held.owner != caller.owner:
                    raise _not_held()
            elif held is not None:
                left = round(held.expires_at - change.now, 3)
                raise ConflictError(
                    f"{held.holder} works on this record for {left:g} more seconds. Try again "
                    "then. To make your own lease last on, give its fencing_token. Nothing was "
                    "changed.",
                    details={
                        "held_by": held.holder,
                        "fencing_token": held.token,
                        "expires_in_seconds": left,
                    },
                )
            else:
                await _make_room(change)
            lease = Lease(
                model, record, caller.name, token or change.revision, change.now + seconds
            )
            row = {
                "owner": caller.owner,
                "holder": caller.name,
                "token": lease.token,
                "expires_at": lease.expires_at,
            }
            await upsert(change.connection, leases, key, row)
            change.tell(RENEWED_LEASE if token else TOOK_LEASE, f"{model} {record}")
        return lease

    async def release(self, caller: Caller, workspace_id: str, token: int) -> None:
        """Gives a lease back.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
            ForbiddenError: It is an observer.
            ConflictError: It holds none under that token.
        """
        async with self._access.changing(caller, workspace_id) as change:
            held = await require_lease(change, token)
            own = (leases.c.workspace_id == workspace_id, leases.c.token == token)
            await change.connection.execute(delete(leases).where(*own))
            change.tell(RELEASED_LEASE, f"{held.model} {held.record}")


async def require_lease(change: Change, token: int) -> Any:
    """The lease that whoever makes a change holds under a token.

    Raises:
        ConflictError: It does not, or no more.
    """
    held = await _held(
        change,
        leases.c.workspace_id == change.part.id,
        leases.c.token == token,
        leases.c.owner == change.caller.owner,
    )
    if held is None:
        raise _not_held()
    return held


async def _held(change: Change, *wanted: Any) -> Any:
    """The lease that is found, if its time is not over."""
    statement = select(leases).where(*wanted, leases.c.expires_at > now_of(change.connection))
    return (await change.connection.execute(statement)).one_or_none()


async def _make_room(change: Change) -> None:
    own = leases.c.workspace_id == change.part.id
    await change.connection.execute(
        delete(leases).where(own, leases.c.expires_at <= now_of(change.connection))
    )
    count = await change.connection.scalar(select(func.count()).select_from(leases).where(own))
    if (count or 0) >= MAX_LEASES:
        raise ConflictError(
            f"A workspace has at most {MAX_LEASES} leases at a time. Release some. Nothing was "
            "changed.",
            details={"limit": MAX_LEASES},
        )


def _not_held() -> ConflictError:
    return ConflictError(
        "fencing_token: you do not hold this lease, or no more. Stop the work on the record and "
        "acquire it anew. Nothing was changed.",
        field="fencing_token",
    )
