"""How a workflow session becomes somebody else's, in a transaction of whoever has it told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

Give = Callable[["AsyncConnection", str], Awaitable[None]]
"""Makes a session another one's, by its digest, in a transaction of the state.

Raises:
    NotFoundError: There is no such session of its owner.
    ConflictError: A step of it is running, or the other one has too many.
"""

HandOver = Callable[[str, str], Awaitable[Give]]
"""What makes a session, by its id, somebody else's; its owner by its digest.

Asked before the transaction begins.
"""
