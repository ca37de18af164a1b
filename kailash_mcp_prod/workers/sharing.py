"""Accepts connections and gives them to workers in turn.

Workers could accept by themselves on one socket. But whoever is woken first takes all there are, so
that one of them had every connection in a trial; and with a socket for each worker (SO_REUSEPORT),
those that wait for one that dies would be lost. So the supervisor gives each connection away by its
descriptor, and is not in the way of what is sent on it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

_TOGETHER: Final = 100
_PAUSE_SECONDS: Final = 0.05


class Sharing:
    """The sockets that clients connect to, and who gets the connections.

    While there is no worker, clients wait.

    Args:
        sockets: They listen; a connection is given away with the number of its socket.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = tuple(sockets)
        self._workers: dict[int, socket.socket] = {}
        self._turns = [0] * len(self._sockets)
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        self._resuming: asyncio.TimerHandle | None = None
        for each in self._sockets:
            each.setblocking(False)

    def give_to(self, slot: int, worker: socket.socket) -> None:
        """From now on gives connections to a worker, in place of the one that had its slot."""
        self._workers[slot] = worker
        self._resume()

    def leave_out(self, slot: int, worker: socket.socket) -> None:
        """Gives a worker no more connections."""
        if self._workers.get(slot) is worker:
            del self._workers[slot]
            if not self._workers:
                self._pause()

    def close(self) -> None:
        """Accepts no more."""
        self._pause()
        self._workers.clear()
        for each in self._sockets:
            each.close()
        while self._waiting:
            self._waiting.popleft()[1].close()

    def _pause(self, *, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            if each.fileno() >= 0:
                loop.remove_reader(each)
        if self._resuming is not None:
            self._resuming.cancel()
            self._resuming = None
        if seconds is not None:
            self._resuming = loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        while self._waiting and self._give(*self._waiting[0]):
            self._waiting.popleft()
        if self._waiting or not self._workers:
            self._pause(seconds=_PAUSE_SECONDS if self._workers else None)
            return
        loop = asyncio.get_running_loop()
        for number, each in enumerate(self._sockets):
            loop.add_reader(each, self._accept, number)

    def _accept(self, number: int) -> None:
        for _ in range(_TOGETHER):
            try:
                connection, _ = self._sockets[number].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failure:
                # Most likely too many files are open. Clients wait meanwhile.
                log.warning("not_accepted", reason=errno.errorcode.get(failure.errno or 0, ""))
                self._pause(seconds=_PAUSE_SECONDS)
                return
            if not self._give(number, connection):
                self._waiting.append((number, connection))
                self._pause(seconds=_PAUSE_SECONDS)
                return

    def _give(self, number: int, connection: socket.socket) -> bool:
        """Whether a worker has taken the connection."""
        slots = sorted(self._workers)
        for _ in slots:
            slot = slots[self._turns[number] % len(slots)]
            self._turns[number] += 1
            try:
                socket.send_fds(self._workers[slot], [bytes([number])], [connection.fileno()])
            except OSError:
                # Nobody is there any more, or has room, or too many descriptors are under way.
                # Whatever it is, the client waits: to raise would be to accept no more.
                continue
            connection.close()
            return True
        return False


def taken(source: socket.socket) -> list[tuple[int, socket.socket]]:
    """The connections that were given to a worker since it last looked."""
    found: list[tuple[int, socket.socket]] = []
    while True:
        try:
            kind, descriptors, _, _ = socket.recv_fds(source, 1, 1)
        except (BlockingIOError, InterruptedError, ConnectionError):
            return found
        if not kind or not descriptors:
            return found
        connection = socket.socket(fileno=descriptors[0])
        # As of every other socket: else what the application starts could hold it open.
        connection.set_inheritable(False)
        found.append((kind[0], connection))
