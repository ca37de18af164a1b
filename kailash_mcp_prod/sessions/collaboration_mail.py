"""The mailboxes of a workspace: each member has one, and empties it as it reads."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, func, select

from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.sessions.collaboration_access import Access, require_role
from kailash_mcp_prod.sessions.collaboration_tables import members, messages
from kailash_mcp_prod.sessions.collaboration_values import (
    JOINED,
    MAX_MESSAGES,
    MEMBER,
    OBSERVER,
    Message,
)
from kailash_mcp_prod.sessions.handing_over import Give
from kailash_mcp_prod.sessions.identity import Caller


class Mailboxes:
    """The mailboxes of one database.

    Args:
        access: Lets members in.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def send(
        self, caller: Caller, workspace_id: str, body: str, to: Collection[str] | None
    ) -> tuple[int, list[str], list[str]]:
        """Puts a message into mailboxes.

        Args:
            caller: A member that is more than an observer.
            workspace_id: The workspace.
            body: A JSON text.
            to: The agents; `None` for all others.

        Returns:
            The message's id, those who have it, and those whose mailboxes were full.

        Raises:
            NotFoundError: The caller, or one of the agents, takes no part.
            ForbiddenError: The caller is an observer.
            ConflictError: There is nobody else, or every mailbox is full.
        """
        async with self._access.changing(caller, workspace_id) as change:
            connection = change.connection
            counted = (
                select(messages.c.recipient, func.count().label("waiting"))
                .where(messages.c.workspace_id == workspace_id)
                .group_by(messages.c.recipient)
                .subquery()
            )
            rows = await connection.execute(
                select(members.c.name, members.c.address, members.c.owner, counted.c.waiting)
                .select_from(members.outerjoin(counted, counted.c.recipient == members.c.address))
                .where(members.c.workspace_id == workspace_id, members.c.state == JOINED)
                .order_by(members.c.name)
            )
            known = {each.name: each for each in rows}
            if to is None:
                names = [name for name, each in known.items() if each.owner != caller.owner]
            else:
                names = list(dict.fromkeys(to))
            for name in names:
                if name not in known:
                    raise NotFoundError(
                        f"to: no agent {name} takes part in this workspace. Nothing was changed.",
                        field="to",
                    )
            if not names:
                raise ConflictError(
                    "to: nobody else takes part in this workspace yet. Nothing was changed.",
                    field="to",
                )
            full = [name for name in names if (known[name].waiting or 0) >= MAX_MESSAGES]
            told = [name for name in names if name not in full]
            if not told:
                raise _full(full)
            await connection.execute(
                messages.insert(),
                [
                    {
                        "workspace_id": workspace_id,
                        "recipient": known[name].address,
                        "id": change.revision,
                        "sender": caller.name,
                        "body": body,
                        "at": change.now,
                    }
                    for name in told
                ],
            )
            concerned = {caller.address, *(known[name].address for name in told)}
            change.tell("sent a message", ", ".join(told), () if to is None else concerned)
        return change.revision, told, full

    async def hand(
        self, caller: Caller, workspace_id: str, body: str, to: str, give: Give
    ) -> tuple[int, list[str], list[str]]:
        """Puts a message into a mailbox and gives its owner something, both or neither.

        Args:
            caller: A member that is more than an observer.
            workspace_id: The workspace.
            body: A JSON text.
            to: Another agent, who is more than an observer too.
            give: Gives it.

        Returns:
            As `send` does.

        Raises:
            NotFoundError: The caller takes no part in such a workspace, or the other one does not.
            ForbiddenError: The caller is an observer.
            ConflictError: Its mailbox is full.
            ServerError: As `give` does.
        """
        async with self._access.changing(caller, workspace_id) as change:
            found = (
                await change.connection.execute(
                    select(members.c.owner, members.c.address).where(
                        members.c.workspace_id == workspace_id,
                        members.c.name == to,
                        members.c.state == JOINED,
                        members.c.role != OBSERVER,
                        members.c.owner != caller.owner,
                    )
                )
            ).one_or_none()
            if found is None:
                raise NotFoundError(
                    f"to: no other agent {to} takes part in this workspace as a member or an "
                    "owner. Nothing was changed.",
                    field="to",
                )
            waiting = await change.connection.scalar(
                select(func.count())
                .select_from(messages)
                .where(
                    messages.c.workspace_id == workspace_id,
                    messages.c.recipient == found.address,
                )
            )
            if (waiting or 0) >= MAX_MESSAGES:
                raise _full([to])
            await change.connection.execute(
                messages.insert().values(
                    workspace_id=workspace_id,
                    recipient=found.address,
                    id=change.revision,
                    sender=caller.name,
                    body=body,
                    at=change.now,
                )
            )
            await give(change.connection, found.owner)
            change.tell("sent a message", to, {caller.address, found.address})
        return change.revision, [to], []

    async def check(self, caller: Caller, workspace_id: str) -> None:
        """Sees that a caller may send something.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
            ForbiddenError: The caller is an observer.
        """
        async with self._access.reading(caller, workspace_id) as (_, part):
            require_role(part, MEMBER)

    async def read(
        self, caller: Caller, workspace_id: str, *, after: int | None, limit: int
    ) -> tuple[list[Message], bool]:
        """The messages that wait for the caller, the oldest first, and whether there are more.

        Args:
            caller: A member.
            workspace_id: The workspace.
            after: The last message that is done with: it and earlier ones are removed.
            limit: How many at most.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
        """
        own = (messages.c.workspace_id == workspace_id, messages.c.recipient == caller.address)
        if after is not None:
            inside = self._access.reading(caller, workspace_id, tidying=True)
            async with inside as (connection, _):
                await connection.execute(delete(messages).where(*own, messages.c.id <= after))
        async with self._access.reading(caller, workspace_id) as (connection, _):
            rows = await connection.execute(
                select(messages.c.id, messages.c.sender, messages.c.body, messages.c.at)
                .where(*own)
                .order_by(messages.c.id)
                .limit(limit + 1)
            )
            found = [Message(*each) for each in rows]
        return found[:limit], len(found) > limit


def _full(names: Collection[str]) -> ConflictError:
    return ConflictError(
        f"The mailbox is full: {MAX_MESSAGES} messages wait there, which is the limit. Wait until "
        "they are read. Nothing was changed.",
        details={"limit": MAX_MESSAGES, "full": list(names)},
    )
