"""Host and Origin checks against DNS rebinding.

Source: the section *Security & Endpoint* of the streamable HTTP page of MCP 2026-07-28.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
LOOPBACK_ORIGINS: Final = frozenset(
    f"{scheme}://{host}:*" for scheme in ("http", "https") for host in LOOPBACK_HOSTS
)

# Headers that were good before; there may be as many as ports.
_MOST_GOOD: Final = 64
_LONGEST_GOOD: Final = 256
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class HostGuard:
    """Knows under which names the server may be addressed, and from which web pages.

    Args:
        allowed_hosts: `name` for any port, `name:port` for one, `*` for all. IPv6 in brackets.
        allowed_origins: `scheme://name` for the scheme's own port, `scheme://name:port` for
            another, `scheme://name:*` for any port, `*` for all.
    """

    def __init__(self, allowed_hosts: Collection[str], allowed_origins: Collection[str]) -> None:
        self._any_host = "*" in allowed_hosts
        self._hosts = {entry.lower().removesuffix(":*") for entry in allowed_hosts}
        self._good: set[str] = set()
        self._any_origin = "*" in allowed_origins
        self._origins = {_normal_origin(entry) for entry in allowed_origins if entry != "*"}

    def allows_host(self, host: str | None) -> bool:
        """Whether the `Host` header names this server; a missing one only if all are allowed."""
        if self._any_host:
            return True
        if not host:
            return False
        if host in self._good:
            return True
        lower = host.lower()
        good = lower in self._hosts or _without_port(lower) in self._hosts
        if good and len(self._good) < _MOST_GOOD and len(host) <= _LONGEST_GOOD:
            self._good.add(host)
        return good

    def allows_origin(self, origin: str | None) -> bool:
        """Whether a page of this `Origin` may call; a request without one is no page's."""
        if self._any_origin or origin is None:
            return True
        normal = _normal_origin(origin)
        return normal in self._origins or f"{_without_port(normal)}:*" in self._origins


def _without_port(address: str) -> str:
    name, colon, port = address.rpartition(":")
    return name if colon and port.isascii() and port.isdecimal() else address


def _normal_origin(origin: str) -> str:
    origin = origin.strip().lower()
    scheme = origin.partition("://")[0] if "://" in origin else ""
    port = _DEFAULT_PORTS.get(scheme)
    has_port = origin.endswith(":*") or _without_port(origin) != origin
    return origin if port is None or has_port else f"{origin}:{port}"
