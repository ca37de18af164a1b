"""A server with a dashboard, on models and agents whose names are hostile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey

ADMIN, CLERK, WATCHER, NOBODY = (
    f"{name}-key-0123456789abcdefgh" for name in ("admin", "clerk", "watcher", "nobody")
)
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
KEYS: dict[str, dict[str, Any]] = {
    ADMIN: {"agent_id": "admin", "permissions": ["*"]},
    CLERK: {"agent_id": HOSTILE, "permissions": ["Company:*", "session:*", "workflow:*"]},
    WATCHER: {"agent_id": "watcher", "permissions": ["monitor:read"]},
    NOBODY: {"agent_id": "nobody", "permissions": []},
}
API = (
    *("pulse", "overview", "tools", "tools/Company_list", "sessions", "workspaces", "workflows"),
    *("workflows/wf_x", "limits", "audit", "explain"),
)
PAGES = ("", "tools", "sessions", "workspaces", "workflows", "limits", "audit", "explain")
OWN_PAGE = {"X-Dashboard": "1"}


def server_at(path: Path, **settings: Any) -> ProductionMCPServer:
    """A server on an SQLite file there."""
    url = f"sqlite:////{(path / 'dashboard.db').as_posix().lstrip('/')}"
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    company = {"__annotations__": {"id": str, "name": str, "size": int}, "size": 0}
    db.model(type("Company", (), {**company, "__doc__": f"A company {HOSTILE} of ours."}))
    given: dict[str, Any] = {"port": 0, "api_keys": KEYS, "auth_type": "api_key", "key_store": True}
    return ProductionMCPServer(ServerConfig(**{**given, **settings}), dataflow=db)


@contextmanager
def served(path: Path, **settings: Any) -> Iterator[ProductionMCPServer]:
    """The same, served from a thread of its own."""
    server = server_at(path, **settings)
    server.start_mcp_server_async()
    try:
        yield server
    finally:
        server.stop_mcp_server()


def call(server: ProductionMCPServer, key: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a tool answers over REST, a result or an error."""
    answer = httpx.post(
        f"{server.rest_url}/tools/{tool}", json=arguments, headers={"X-API-Key": key}, timeout=20
    )
    found: dict[str, Any] = answer.json()
    return found


_LOG_INS: dict[tuple[str | None, str], httpx.Cookies] = {}


@contextmanager
def client(
    server: ProductionMCPServer, key: str | None = None, *, anew: bool = False
) -> Iterator[httpx.Client]:
    """A browser, as far as cookies go, that is logged in if there is a key.

    Args:
        server: It.
        key: The key.
        anew: Whether not with the cookie of another browser: only so many may log in at once.
    """
    with httpx.Client(base_url=f"{server.rest_url}/dashboard", timeout=20) as found:
        if key is not None:
            known = None if anew else _LOG_INS.get((server.rest_url, key))
            if known is None:
                answer = found.post("/api/login", json={"credential": key}, headers=OWN_PAGE)
                assert answer.status_code == 200, answer.text
            else:
                found.cookies.update(known)
            if not anew:
                _LOG_INS[server.rest_url, key] = found.cookies
        yield found


class Operator:
    """Mints and revokes keys, in no server's process."""

    def __init__(self, server: ProductionMCPServer) -> None:
        assert server.application.database_url is not None
        self._database = StateDatabase(server.application.database_url, connections=1)
        self.store = CredentialStore(self._database)

    async def mint(self, **grants: Any) -> tuple[str, str]:
        """A new key and its id."""
        await self.store.prepare()
        key = mint_key()
        given = {"permissions": ("*",), "created_at": time.time(), **grants}
        await self.store.add(StoredKey(id=key.id, digest=key.digest, lineage=key.id, **given))
        return key.text, key.id

    async def revoke(self, key_id: str) -> None:
        """Ends a key."""
        await self.store.revoke(key_id)

    async def close(self) -> None:
        """Closes the database."""
        await self._database.close()
