"""The sessions of legacy clients over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from kailash_mcp_prod.auth.principal import ANONYMOUS, Owner
from kailash_mcp_prod.protocol import Connection
from kailash_mcp_prod.transports.event_log import EventLogs

_ID_BYTES: Final = 32


@dataclass(slots=True)
class Session:
    """One legacy client: its channel, whom it belongs to, how busy it is, what was sent to it.

    `users` counts requests and streams that are under way; a session in use is never idle.
    """

    id: str
    owner: Owner
    connection: Connection = field(default_factory=Connection)
    last_used: float = 0.0
    users: int = 0
    streams: int = 0
    logs: EventLogs = field(default_factory=EventLogs)


class SessionStore:
    """All open sessions, bounded in number and in idle time.

    Args:
        limit: How many sessions may exist.
        idle_seconds: After how long without a request a session ends.
        clock: Seconds that only grow.
    """

    def __init__(self, limit: int, idle_seconds: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._subject_limit = max(limit // 4, 1)
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, owner: Owner) -> Session | None:
        """A new session for this principal; `None` when all places are taken by active ones.

        A principal with a credential may hold a quarter of all sessions: for one more, its longest
        unused one ends. Anonymous clients can't be told apart and share all places.
        """
        self._expire()
        subject = owner[0]
        if subject != ANONYMOUS.subject:
            own = [each for each in self._sessions.values() if each.owner[0] == subject]
            if len(own) >= self._subject_limit:
                unused = [each for each in own if not each.users]
                if not unused:
                    return None
                self.end(min(unused, key=lambda each: each.last_used))
        if len(self._sessions) >= self._limit:
            return None
        session = Session(secrets.token_urlsafe(_ID_BYTES), owner, last_used=self._clock())
        self._sessions[session.id] = session
        return session

    def find(self, session_id: str, owner: Owner) -> Session | None:
        """The open session with this id, unless it belongs to somebody else."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        if self._is_idle(session):
            self.end(session)
            return None
        return session if session.owner == owner else None

    @contextmanager
    def use(self, session: Session) -> Iterator[None]:
        """Keep a session from going idle while the block runs."""
        session.users += 1
        try:
            yield
        finally:
            session.users -= 1
            session.last_used = self._clock()

    def end(self, session: Session) -> None:
        """Close a session: its streams end, its running requests are cancelled."""
        self._sessions.pop(session.id, None)
        session.connection.close()

    def end_streams(self) -> None:
        """Let the event streams of all sessions run out; requests go on."""
        for session in self._sessions.values():
            session.connection.outbox.close()

    def end_all(self) -> None:
        """Close every session."""
        for session in tuple(self._sessions.values()):
            self.end(session)

    def _expire(self) -> None:
        for session in [s for s in self._sessions.values() if self._is_idle(s)]:
            self.end(session)

    def _is_idle(self, session: Session) -> bool:
        return not session.users and self._clock() - session.last_used >= self._idle_seconds
