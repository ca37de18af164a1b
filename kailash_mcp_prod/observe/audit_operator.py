"""Entries of what operators do by command, beside the servers."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from kailash_mcp_prod.errors import DatabaseStartupError, ServerError, StartupError
from kailash_mcp_prod.observe.audit_chain import AuditSeal, draft_of, link
from kailash_mcp_prod.observe.audit_entries import clean, ids_of
from kailash_mcp_prod.observe.audit_tables import TABLES, entries, head
from kailash_mcp_prod.observe.audit_verification import OPERATOR

if TYPE_CHECKING:
    from kailash_mcp_prod.config import ServerConfig
    from kailash_mcp_prod.state.database import StateDatabase


async def note_operation(
    database: StateDatabase, config: ServerConfig, action: str, ids: Sequence[str], **facts: Any
) -> None:
    """Notes what a command has done.

    Args:
        database: The state.
        config: Whether there is an audit, and the secret that seals it.
        action: What was done, such as `key_mint`.
        ids: What it was done to.
        facts: What else to say; JSON values.

    Raises:
        DatabaseStartupError: It was done, and can't be noted.
    """
    if not config.enable_audit:
        return
    said: dict[str, Any] = {"at": round(time.time(), 6), "who": clean(f"{OPERATOR}{_user()}")}
    said |= {"method": "command", "tool": action, "outcome": "ok", "ids": ids_of(ids)}
    said |= {"host": clean(socket.gethostname())}
    said |= {name: value for name, value in facts.items() if value}
    draft = draft_of(said)
    try:
        await database.prepare(TABLES)
        async with database.begin() as connection:
            where = head.c.id == 1
            found = await connection.execute(
                select(head.c.seq, head.c.hash).where(where).with_for_update()
            )
            seq, previous = found.one()
            [row] = link([draft], seq, previous, AuditSeal(config.cursor_key))
            values = {name: getattr(row, name) for name in row.__struct_fields__}
            await connection.execute(insert(entries).values(values))
            await connection.execute(update(head).where(where).values(seq=row.seq, hash=row.hash))
    except (ServerError, StartupError, SQLAlchemyError) as failure:
        reason = str(failure) if isinstance(failure, StartupError) else type(failure).__name__
        raise DatabaseStartupError(
            f"It is done ({action} {', '.join(ids)}), and could not be noted in the audit: "
            f"{reason} The command's user of the database needs SELECT and INSERT on mcp_audit, "
            "and SELECT and UPDATE on mcp_audit_head."
        ) from failure


def _user() -> str:
    """The user of the operating system, not what the environment says of it."""
    try:
        import pwd
    except ImportError:
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
