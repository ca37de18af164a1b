"""The blackboard of a workspace: values by key, each with a version to compare and set."""

from __future__ import annotations

from sqlalchemy import delete, select

from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.sessions.collaboration_access import Access, Change
from kailash_mcp_prod.sessions.collaboration_leases import require_lease
from kailash_mcp_prod.sessions.collaboration_tables import entries, workspaces
from kailash_mcp_prod.sessions.collaboration_values import MAX_BOARD_BYTES, MAX_ENTRIES, Entry
from kailash_mcp_prod.sessions.dialects import upsert
from kailash_mcp_prod.sessions.identity import Caller


class Blackboard:
    """The blackboards of one database. A version is never used twice, whatever is deleted.

    Args:
        access: Lets members in.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def write(
        self,
        caller: Caller,
        workspace_id: str,
        key: str,
        value: str | None,
        *,
        expected: int | None = None,
        fencing_token: int | None = None,
    ) -> int:
        """Puts a value under a key, or takes it away; returns the version.

        Args:
            caller: A member that is more than an observer.
            workspace_id: The workspace.
            key: The key.
            value: A JSON text; `None` takes away what is there.
            expected: The version that has to be there now, 0 for none.
            fencing_token: Of a lease that the caller has to hold now.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
            ForbiddenError: It is an observer.
            ConflictError: There is another version, no such lease, or no room.
        """
        async with self._access.changing(caller, workspace_id) as change:
            if fencing_token is not None:
                await require_lease(change, fencing_token)
            at_key = (entries.c.workspace_id == workspace_id, entries.c.key == key)
            found = (
                await change.connection.execute(
                    select(entries.c.version, entries.c.value).where(*at_key)
                )
            ).one_or_none()
            version = 0 if found is None else found.version
            if expected is not None and expected != version:
                raise ConflictError(
                    f"expected_version: the entry {key} is at version {version}"
                    f"{' (there is none)' if not version else ''}. Read it with read_blackboard "
                    "and try again. Nothing was changed.",
                    field="expected_version",
                    details={"version": version},
                )
            before = 0 if found is None else _size(key, found.value)
            after = 0 if value is None else _size(key, value)
            await _make_room(change, after - before, new=found is None and value is not None)
            if value is None:
                await change.connection.execute(delete(entries).where(*at_key))
            else:
                row = {
                    "value": value,
                    "version": change.revision,
                    "author": caller.name,
                    "at": change.now,
                }
                await upsert(
                    change.connection, entries, {"workspace_id": workspace_id, "key": key}, row
                )
            change.tell("deleted" if value is None else "wrote", key)
        return change.revision

    async def read(
        self,
        caller: Caller,
        workspace_id: str,
        *,
        key: str | None,
        since: int,
        after: str,
        limit: int,
    ) -> tuple[list[Entry], int]:
        """Entries by key, and the revision of the workspace.

        Args:
            caller: A member.
            workspace_id: The workspace.
            key: Only the entry under it; `None` for all.
            since: Only entries of later versions.
            after: Only entries of later keys.
            limit: How many at most.

        Raises:
            NotFoundError: The caller takes no part in such a workspace.
        """
        async with self._access.reading(caller, workspace_id) as (connection, part):
            only = () if key is None else (entries.c.key == key,)
            rows = await connection.execute(
                select(
                    entries.c.key,
                    entries.c.value,
                    entries.c.version,
                    entries.c.author,
                    entries.c.at,
                )
                .where(
                    entries.c.workspace_id == workspace_id,
                    entries.c.version > since,
                    entries.c.key > after,
                    *only,
                )
                .order_by(entries.c.key)
                .limit(limit)
            )
            return [Entry(*each) for each in rows], part.revision


async def _make_room(change: Change, more: int, *, new: bool) -> None:
    connection, workspace_id = change.connection, change.part.id
    held = await connection.scalar(
        select(workspaces.c.board_bytes).where(workspaces.c.id == workspace_id)
    )
    size = (held or 0) + more
    if more > 0 and size > MAX_BOARD_BYTES:
        raise _full(MAX_BOARD_BYTES, "bytes")
    if new:
        keys = select(entries.c.key).where(entries.c.workspace_id == workspace_id)
        found = (await connection.execute(keys.limit(MAX_ENTRIES))).all()
        if len(found) >= MAX_ENTRIES:
            raise _full(MAX_ENTRIES, "entries")
    change.also["board_bytes"] = size


def _full(limit: int, of_what: str) -> ConflictError:
    return ConflictError(
        f"A blackboard holds at most {limit} {of_what}. Delete some entries. Nothing was changed.",
        details={"limit": limit, "limit_of": of_what},
    )


def _size(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode())
