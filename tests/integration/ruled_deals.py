"""A model behind a policy, with a text of its own in every cell of its table.

Whatever anybody is told can be searched for these texts: each found one must be of a row and of a
field that the policy leaves to the caller.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.catalogue import Catalogue
from kailash_mcp_prod.content.completion import DataCompletion
from kailash_mcp_prod.content.prompts import DataPrompts
from kailash_mcp_prod.content.resources import DataResources
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.cache import ReadCache
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.records.effects import Effects
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.records.watching import WatchedStore
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.families import ModelFamily
from kailash_mcp_prod.tools.models_info import models_info_tool
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.scopes import Scopes, check_rules
from kailash_mcp_prod.tools.service import ToolService
from tests.integration.records.plain_sql import run_sql
from tests.integration.records.sql_items import item_store

Json = dict[str, Any]

_TEXT = FieldType(Kind.TEXT)
_TIME = FieldType(Kind.DATETIME, nullable=True)
DEAL = Model(
    "Deal",
    "deals",
    "A deal.",
    (
        Field("id", _TEXT, "Key.", required=False),
        Field("headline", _TEXT, "What it is called.", required=True),
        Field("owner", _TEXT, "Whose it is.", required=False, default="nobody"),
        Field("team", FieldType(Kind.INTEGER), "Which team's.", required=False, default=0),
        Field("margin", _TEXT, "What is earned.", required=False, default="none"),
        Field("refno", _TEXT, "A unique refno.", required=False, default=None),
        Field("created_at", _TIME, "", required=False, read_only=True),
        Field("updated_at", _TIME, "", required=False, read_only=True),
    ),
    unique_keys=(("id",), ("refno",)),
    unique_indexes={"deals_refno": ("refno",)},
    indexes={"deals_refno": ("refno",)},
)
OWNERS = ("alice", "bob")
TEAMS = (1, 2, 3)
MARKED = ("id", "headline", "margin", "refno")
HIDEABLE = ("headline", "owner", "team", "margin", "refno")
_MARKER = re.compile(r"(id|headline|margin|refno)-(\d+)-x")

TABLE = [
    "CREATE TABLE deals (id TEXT PRIMARY KEY, headline TEXT NOT NULL, owner TEXT, team INTEGER,"
    " margin TEXT, refno TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
    " updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)",
    "CREATE UNIQUE INDEX deals_refno ON deals (refno)",
]


def deal(number: int) -> Json:
    """A row whose texts no other row has."""
    marked = {name: f"{name}-{number}-x" for name in MARKED}
    return {**marked, "owner": OWNERS[number % 2], "team": TEAMS[number % 3]}


DEALS = [deal(number) for number in range(12)]


def markers(told: Any) -> set[tuple[str, int]]:
    """The cells whose texts stand in something that was told."""
    text = told if isinstance(told, str) else json.dumps(told, default=str)
    return {(name, int(number)) for name, number in _MARKER.findall(text)}


@dataclass
class Deals:
    """The table and a store on it."""

    url: str
    store: SqlStore

    def fill(self) -> None:
        values = ", ".join(
            f"('{row['id']}', '{row['headline']}', '{row['owner']}', {row['team']},"
            f" '{row['margin']}', '{row['refno']}')"
            for row in DEALS
        )
        run_sql(self.url, "DELETE FROM deals")
        run_sql(
            self.url,
            f"INSERT INTO deals (id, headline, owner, team, margin, refno) VALUES {values}",
        )

    def stored(self) -> list[tuple[Any, ...]]:
        columns = "id, headline, owner, team, margin, refno"
        return sorted(map(tuple, run_sql(self.url, f"SELECT {columns} FROM deals")), key=repr)


@dataclass
class Ruled:
    """Everything that shows or runs tools, over the deals, under a policy and with a cache."""

    deals: Deals
    policy: Policy
    service: ToolService = field(init=False)
    resources: DataResources = field(init=False)
    completion: DataCompletion = field(init=False)

    def __post_init__(self) -> None:
        check_rules(self.policy, [DEAL])
        registry = ToolRegistry()
        changes = Changes(None, doubt_seconds=60)
        cache = ReadCache(changes, max_bytes=1_000_000, ttl_seconds=3600)
        reads = CachedReads(cache, self.policy)
        reads.serve([DEAL], Effects({"deals": frozenset({"deals"})}, frozenset()))
        store = WatchedStore(self.deals.store, changes)
        discovery = DataFlowToolDiscovery(store, tuple(Operation), None, Scopes(self.policy))
        registry.add(ModelFamily(DEAL, discovery.tools_of).adopt(discovery.tools_of(DEAL)))
        by_sql = Execution("sql", "sample")
        registry.add([models_info_tool(registry, self.policy, lambda: [DEAL], lambda _: by_sql)])
        self.service = ToolService(
            registry,
            self.policy,
            RateLimit(1_000_000),
            ConcurrencyLimit(100),
            Breakers(1_000, 1),
            timeout_seconds=30,
            reads=reads,
        )
        self.service.mark_ready()
        catalogue = Catalogue(self.service, lambda: [DEAL])
        self.resources = DataResources(self.service, catalogue, _healthy)
        prompts = DataPrompts(self.service, catalogue, self.resources)
        self.completion = DataCompletion(self.service, catalogue, self.resources, prompts)

    async def call(self, who: Principal, tool: str, surface: str = "full", /, **given: Any) -> Any:
        """The result of a call, or the error that the caller gets instead."""
        try:
            return await self.service.call(who, tool, given, request_id="r", surface=surface)
        except ServerError as error:
            return error

    async def read(self, who: Principal, uri: str) -> Any:
        """What a resource holds, or the error that the caller gets instead."""
        try:
            [found] = await self.resources.read_resource(who, uri, request_id="r")
        except ServerError as error:
            return error
        return json.loads(found["text"])


async def _healthy() -> Json:
    return {"health_status": "healthy"}


def told_by(answer: Any) -> Any:
    """All that an answer tells its caller."""
    return answer.to_dict("r") if isinstance(answer, ServerError) else answer


@asynccontextmanager
async def running_deals(url: str) -> AsyncIterator[Deals]:
    """The deals in an empty database."""
    for statement in TABLE:
        run_sql(url, statement)
    async with item_store(url, DEAL) as store:
        deals = Deals(url, store)
        deals.fill()
        yield deals
