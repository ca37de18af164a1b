"""One server on SQLite, or two replicas on one PostgreSQL: what holds for one holds for all."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dataflow import DataFlow
from jsonschema import Draft202012Validator
from sqlalchemy import create_engine

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import ServerError
from tests.postgres import PostgresServer
from tests.redis_server import running_redis

MODELS: dict[str, dict[str, Any]] = {
    "Company": {"id": str, "name": str, "owner_id": str},
    "Counter": {"id": int, "label": str},
}
SEED = 20_261_125
_numbers = count(1)


class Names:
    """Takes a bearer token for a subject, with every permission."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        name, _, tenant = (credentials.bearer_token or "").partition("@")
        return Principal(name, frozenset({"*"}), method="name", tenant=tenant or None)


def agent(*permissions: str, tenant: str | None = None, name: str = "") -> Principal:
    """An agent that nobody has heard of before."""
    subject = f"key:{name or f'agent-{next(_numbers)}'}"
    return Principal(subject, frozenset(permissions or {"*"}), method="key", tenant=tenant)


def name_of(principal: Principal) -> str:
    """Under which name it is invited."""
    assert principal.agent_id is not None
    return principal.agent_id


@dataclass
class Deployment:
    """The replicas of one application; each call goes to one of them by chance."""

    kind: str
    url: str
    replicas: list[ProductionMCPServer]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    async def call(self, who: Principal, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a call, which has to be as the tool says."""
        replica = self.chance.choice(self.replicas)
        result = await replica.mcp_server.call_tool(tool, arguments, principal=who)
        spec = replica.registry.get(tool)
        assert spec is not None
        if spec.group == "session":
            Draft202012Validator(spec.output_schema).validate(result)
        return result

    async def refused(self, who: Principal, tool: str, **arguments: Any) -> ServerError:
        """The error of a call that has to fail, the same from each replica."""
        found = []
        for replica in self.replicas:
            with pytest.raises(ServerError) as raised:
                await replica.mcp_server.call_tool(tool, arguments, principal=who)
            found.append(raised.value)
        assert len({(each.code, each.message) for each in found}) == 1, found
        return found[0]

    async def session(self, who: Principal, **info: Any) -> str:
        """A new session of an agent."""
        made = await self.call(who, "create_agent_session", agent_info=info)
        return str(made["session_id"])

    async def workspace(self, owner: Principal, **roles: Principal) -> str:
        """A new workspace, in which all take part; roles are followed by a number."""
        made = await self.call(
            owner,
            "enable_agent_collaboration",
            agents=[
                {"agent_id": name_of(who), "role": role.rstrip("0123456789")}
                for role, who in roles.items()
            ],
        )
        for who in roles.values():
            await self.call(
                who, "respond_to_invitation", workspace_id=made["workspace_id"], accept=True
            )
        return str(made["workspace_id"])


@contextmanager
def database(deployment: Deployment) -> Iterator[Any]:
    """A transaction on the tables themselves."""
    url = deployment.url.replace("postgresql://", "postgresql+psycopg2://")
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Waits until something is so that becomes so by itself."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.02)


def dataflow(url: str) -> Any:
    db = DataFlow(url, pool_size=5, enable_caching=False, enable_model_persistence=False)
    for name, fields in MODELS.items():
        db.model(type(name, (), {"__annotations__": fields, "__doc__": f"A {name}."}))
    return db


@contextmanager
def serving(url: str, replicas: int, **settings: Any) -> Iterator[list[ProductionMCPServer]]:
    """Replicas on one database, each in a thread of its own."""
    with ExitStack() as stack:
        servers = []
        for _ in range(replicas):
            server = ProductionMCPServer(
                ServerConfig(
                    port=0, auth_type="custom", rate_limit_per_minute=1_000_000, **settings
                ),
                dataflow=dataflow(url),
                auth_providers=[Names()],
            )
            server.start_mcp_server_async()
            stack.callback(server.stop_mcp_server)
            servers.append(server)
        yield servers


@contextmanager
def deployed(
    kind: str, folder: Path, postgres: PostgresServer, **settings: Any
) -> Iterator[Deployment]:
    """What a kind of deployment is made of: `sqlite`, `postgresql` or `postgresql and redis`."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name in os.environ:
            if name.startswith("MCP_") or name in {"DATABASE_URL", "REDIS_URL", "API_KEYS"}:
                patch.delenv(name)
        if kind == "sqlite":
            url = f"sqlite:///{folder / 'sessions.db'}"
        else:
            url = stack.enter_context(postgres.database())
        if kind.endswith("redis"):
            settings["redis_url"] = stack.enter_context(running_redis()).url
        replicas = 1 if kind == "sqlite" else 2
        yield Deployment(kind, url, stack.enter_context(serving(url, replicas, **settings)))
