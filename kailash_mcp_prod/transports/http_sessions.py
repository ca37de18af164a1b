"""The sessions of legacy clients over HTTP."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from kailash_mcp_prod.auth.principal import ANONYMOUS, Owner
from kailash_mcp_prod.errors import OverloadedError
from kailash_mcp_prod.protocol import Connection
from kailash_mcp_prod.transports.event_log import EventLogs
from kailash_mcp_prod.transports.session_ids import SessionFacts, SessionIds

_ID_BYTES: Final = 32
_MOST_ENDED: Final = 20_000


@dataclass(slots=True)
class Session:
    """One legacy client: its channel, whom it belongs to, how busy it is, what was sent to it.

    `users` counts requests and streams that are under way; a session in use is never idle. One
    that is `taken_up` was opened by another process, and has had no request here.
    """

    id: str
    owner: Owner
    connection: Connection = field(default_factory=Connection)
    last_used: float = 0.0
    users: int = 0
    streams: int = 0
    logs: EventLogs = field(default_factory=EventLogs)
    taken_up: bool = False


class SessionStore:
    """All open sessions, bounded in number and in idle time.

    One that another process has opened is taken up when its client comes here. One that has ended
    here is not.

    Args:
        limit: How many sessions may exist.
        idle_seconds: After how long without a request a session ends.
        clock: Seconds that only grow.
        ids: Makes and reads their ids.
    """

    def __init__(
        self,
        limit: int,
        idle_seconds: float,
        clock: Callable[[], float],
        ids: SessionIds | None = None,
    ) -> None:
        self._ids = ids or SessionIds()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._limit = limit
        self._subject_limit = max(limit // 4, 1)
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, owner: Owner) -> Session:
        """A new session for this principal, without an id that its client could use.

        A principal with a credential may hold a quarter of all sessions: for one more, its longest
        unused one ends. Anonymous clients can't be told apart and share all places.

        Raises:
            OverloadedError: All places are taken by active ones.
        """
        return self._open(secrets.token_urlsafe(_ID_BYTES), owner)

    def name(self, session: Session) -> None:
        """Gives a session that is initialized the id by which its client comes back."""
        connection = session.connection
        del self._sessions[session.id]
        session.id = self._ids.make(
            session.owner, connection.version or "", connection.capabilities
        )
        self._sessions[session.id] = session

    def _open(self, session_id: str, owner: Owner) -> Session:
        self._expire()
        subject = owner[0]
        if subject != ANONYMOUS.subject:
            own = [each for each in self._sessions.values() if each.owner[0] == subject]
            if len(own) >= self._subject_limit:
                unused = [each for each in own if not each.users]
                if not unused:
                    raise _full()
                self.end(min(unused, key=lambda each: each.last_used))
        if len(self._sessions) >= self._limit:
            raise _full()
        session = self._sessions[session_id] = Session(session_id, owner, last_used=self._clock())
        return session

    def find(self, session_id: str, owner: Owner) -> Session | None:
        """The open session with this id, unless it belongs to somebody else.

        Raises:
            OverloadedError: It is not open here yet, and all places are taken by active ones.
        """
        session = self._sessions.get(session_id)
        if session is None:
            return self._take_up(session_id, owner)
        if self._is_idle(session):
            self.end(session)
            return None
        return session if session.owner == owner else None

    def _take_up(self, session_id: str, owner: Owner) -> Session | None:
        facts = None if session_id in self._ended else self._ids.read(session_id, owner)
        if facts is None:
            return None
        session = self._open(session_id, owner)
        _initialize(session, facts)
        return session

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
        self._ended[session.id] = None
        if len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)
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


def _initialize(session: Session, facts: SessionFacts) -> None:
    """Makes a session what it was for its client when the other process had it."""
    connection = session.connection
    connection.version = facts.version
    connection.capabilities = {name: {} for name in facts.capabilities}
    connection.initialized = session.taken_up = True
    # Events of the other process are not those of the same number here.
    session.logs = EventLogs(secrets.token_urlsafe(6))


def _full() -> OverloadedError:
    return OverloadedError("All sessions are taken; try again later.", retry_after_seconds=30)
