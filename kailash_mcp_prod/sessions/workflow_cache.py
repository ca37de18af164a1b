"""Workflow sessions as this process has last seen them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from kailash_mcp_prod.sessions.workflow_state import Session

_MOST: Final = 1024
_MOST_BYTES: Final = 64 * 1024 * 1024
_OF_EACH: Final = 4096


class SeenSessions:
    """A bounded number of sessions, the last used ones.

    One may be out of date, because another process has gone on with it. Whatever is stored on top
    of such a one is refused, so who uses one has to look again where it might matter.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._bytes = 0

    def get(self, session_id: str, owner: str) -> Session | None:
        """The session of an owner, if it was seen."""
        found = self._sessions.get((owner, session_id))
        if found is not None:
            self._sessions.move_to_end((owner, session_id))
        return found

    def put(self, session: Session) -> None:
        """Keeps what was seen."""
        self.drop(session.id, session.owner)
        self._sessions[session.owner, session.id] = session
        self._bytes += _size(session)
        while len(self._sessions) > _MOST or self._bytes > _MOST_BYTES:
            _, forgotten = self._sessions.popitem(last=False)
            self._bytes -= _size(forgotten)

    def drop(self, session_id: str, owner: str) -> None:
        """Forgets a session."""
        forgotten = self._sessions.pop((owner, session_id), None)
        if forgotten is not None:
            self._bytes -= _size(forgotten)


def _size(session: Session) -> int:
    return _OF_EACH + session.result_bytes
