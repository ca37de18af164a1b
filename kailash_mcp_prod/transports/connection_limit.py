"""How many connections may be open on all listeners of a process."""

from __future__ import annotations

import sys
from collections.abc import Sized
from typing import Final

from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

_RESERVED_FILES: Final = 2500
_OWN_FILES: Final = 250
_LONGEST_BACKLOG: Final = 2048


class ConnectionLimit:
    """Knows when no more connections may be opened.

    Some of the files that the process may open stay free: for databases, and for connections that
    have arrived and are about to be refused, of which there are at most `backlog` at a time. Each
    listener has a tenth of all for itself, so that one under attack leaves the other reachable.

    Args:
        most: How many connections may be open, if the process may open enough files.
        files: How many files it may open; by default what the system says.
    """

    def __init__(self, most: int, files: int | None = None) -> None:
        files = _file_limit() if files is None else files
        reserved = min(_RESERVED_FILES, files // 2)
        self.most = max(min(most, files - reserved), 1)
        self.backlog = max(min(_LONGEST_BACKLOG, reserved - _OWN_FILES), 64)
        self._counted: list[Sized] = []
        self._was_full = False
        if self.most < most:
            log.info("max_connections_bounded", connections=self.most, files=files)

    def count(self, connections: Sized) -> None:
        """Count these connections too."""
        self._counted.append(connections)

    @property
    def open(self) -> int:
        """How many are open."""
        return sum(map(len, self._counted))

    def is_full(self, connections: Sized) -> bool:
        """Whether as many are open as may be beside these, which are counted."""
        reserved = self.most // 10
        others = (each for each in self._counted if each is not connections)
        full = len(connections) >= self.most - sum(max(len(each), reserved) for each in others)
        if full and not self._was_full:
            log.warning("connections_refused", max_connections=self.most)
        self._was_full = full
        return full


def _file_limit() -> int:
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
