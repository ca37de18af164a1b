"""Who gets the connections of clients."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kailash_mcp_prod.transports.binding import bind
from kailash_mcp_prod.workers.sharing import Sharing, taken


class Worker:
    """The two ends over which a worker is given connections."""

    def __init__(self) -> None:
        self.giving, self.given = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.giving.setblocking(False)
        self.given.setblocking(False)
        self.inheritable: set[bool] = set()

    async def take(self, number: int) -> list[int]:
        """The numbers of the sockets of so many connections, in order."""
        found: list[int] = []
        async with asyncio.timeout(5):
            while len(found) < number:
                for kind, connection in taken(self.given):
                    found.append(kind)
                    self.inheritable.add(connection.get_inheritable())
                    connection.close()
                await asyncio.sleep(0)
        return sorted(found)

    def close(self) -> None:
        self.giving.close()
        self.given.close()


class Door:
    """Two sockets that are shared among two workers."""

    def __init__(self) -> None:
        self.sockets = bind("127.0.0.1", 0), bind("127.0.0.1", 0)
        self.sharing = Sharing(self.sockets)
        self.workers = Worker(), Worker()
        self.clients: list[socket.socket] = []

    def connect(self, *kinds: int) -> None:
        for kind in kinds:
            address = self.sockets[kind].getsockname()
            self.clients.append(socket.create_connection(address))

    def close(self) -> None:
        self.sharing.close()
        for each in (*self.clients, *self.workers):
            each.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    door.close()


async def test_workers_get_connections_in_turn_for_each_socket(door: Door) -> None:
    for slot, worker in enumerate(door.workers):
        door.sharing.give_to(slot, worker.giving)
    door.connect(0, 1, 0, 1, 0, 1, 0, 1)

    assert await door.workers[0].take(4) == [0, 0, 1, 1]
    assert await door.workers[1].take(4) == [0, 0, 1, 1]


async def test_clients_wait_while_there_is_no_worker(door: Door) -> None:
    first, second = door.workers
    door.sharing.give_to(0, first.giving)
    door.connect(0)
    assert await first.take(1) == [0]
    door.sharing.leave_out(0, second.giving)
    door.sharing.leave_out(0, first.giving)
    door.connect(0, 1)
    door.sharing.give_to(0, second.giving)

    assert await second.take(2) == [0, 1]
    assert taken(first.given) == []


async def test_what_a_dead_worker_does_not_take_another_one_gets(door: Door) -> None:
    first, second = door.workers
    door.sharing.give_to(0, first.giving)
    door.sharing.give_to(1, second.giving)
    first.given.close()
    door.connect(0, 0, 0)
    assert await second.take(3) == [0, 0, 0]

    # It gets nothing even if its end is not known yet.
    first.giving.close()
    door.connect(1, 1)
    assert await second.take(2) == [1, 1]


async def test_clients_wait_for_a_worker_that_has_no_time(door: Door) -> None:
    worker = door.workers[0]
    worker.giving.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    door.sharing.give_to(0, worker.giving)
    many = 30
    door.connect(*([0] * many))

    assert await worker.take(many) == [0] * many


async def test_clients_wait_while_too_many_descriptors_are_under_way(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [errno.ETOOMANYREFS] * 3

    def send_fds(*given: Any) -> int:
        # The system counts them over all processes of a user, and never for root.
        if refusals:
            raise OSError(refusals.pop(), "Too many references")
        return _send_fds(*given)

    _send_fds = socket.send_fds
    monkeypatch.setattr(socket, "send_fds", send_fds)
    door.sharing.give_to(0, door.workers[0].giving)
    door.connect(0, 1)

    assert await door.workers[0].take(2) == [0, 1]
    assert refusals == []


async def test_connections_are_kept_from_processes_that_a_worker_starts(door: Door) -> None:
    worker = door.workers[0]
    door.sharing.give_to(0, worker.giving)
    door.connect(0)

    await worker.take(1)
    assert worker.inheritable == {False}


async def test_after_the_end_clients_are_refused(door: Door) -> None:
    door.sharing.give_to(0, door.workers[0].giving)
    address = door.sockets[0].getsockname()
    door.sharing.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
