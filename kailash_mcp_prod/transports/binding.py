"""Sockets that clients connect to: taken from the system, or from the process that took them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from kailash_mcp_prod.errors import StartupError


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens: clients may connect from now on, and wait until one accepts.

    Args:
        host: The address.
        port: The port; 0 for any free one.

    Raises:
        StartupError: That is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except UnicodeError:
        raise StartupError(f"Can't listen on {host!r}: that is no host name.") from None
    except OSError as failure:
        fix = (
            "Choose another --port, or stop what uses it."
            if failure.errno == errno.EADDRINUSE
            else "Choose another --host or --port."
        )
        # Python adds the address to the system's words.
        reason = str(failure.strerror).partition(" (while")[0]
        raise StartupError(f"Can't listen on {host}:{port}: {reason}. {fix}") from None
    # Taken over by accepted connections: else the second packet of an answer waits for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def bind_both(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """The sockets of MCP and of REST.

    Args:
        host: The address of both.
        port: That of MCP; 0 for any free ones.

    Raises:
        StartupError: One of them can't be bound.
    """
    first = bind(host, port)
    try:
        return first, bind(host, port + 1 if port else 0)
    except StartupError as problem:
        first.close()
        raise StartupError(f"{problem} It is for REST, the one after --port.") from None
    except BaseException:
        first.close()
        raise


def bind_local(path: Path) -> socket.socket:
    """A socket of this machine that listens at a path; whoever had it before has it no longer.

    Raises:
        StartupError: That is not possible.
    """
    listening = socket.socket(socket.AF_UNIX)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        listening.bind(str(beside))
        listening.listen(2048)
        beside.replace(path)
    except OSError as failure:
        listening.close()
        raise StartupError(
            f"Can't listen at {path}: {failure.strerror or failure}. Set TMPDIR to a directory "
            "with a short path that can be written."
        ) from None
    return listening


def url_of(host: str, port: int) -> str:
    """The address for clients on this machine or, when bound to one address, for all."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - only compared
    return f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{port}"
