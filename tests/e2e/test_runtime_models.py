from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.exchanges import LegacyHttp, ModernHttp, Stdio
from tests.e2e.record_tools import AGENTS, MONITORS, OPERATIONS, UTILITIES, WORKFLOWS
from tests.e2e.servers import STDIO, HttpServer, forked, serving
from tests.wire_schema import LEGACY, MODERN

Ask = Callable[..., dict[str, Any]]

CHANGED = "notifications/tools/list_changed"
ALSO_CHANGED = ["notifications/prompts/list_changed", "notifications/resources/list_changed"]
FLAGS = ["--models", "tests.e2e.growing_app:db"]


@dataclass(frozen=True, slots=True)
class Soil:
    """Where a growing application lives, and the pipe on which it waits for models' names."""

    workdir: Path

    @property
    def pipe(self) -> Path:
        return self.workdir / "models"

    @property
    def settings(self) -> dict[str, str]:
        database = f"sqlite:///{self.workdir / 'growing.db'}"
        return {"DATABASE_URL": database, "GROWING_APP_PIPE": str(self.pipe)}

    def grow(self, model: str) -> None:
        """Register a model in the running application."""
        self.pipe.write_text(f"{model}\n")


@pytest.fixture
def soil(tmp_path: Path) -> Soil:
    os.mkfifo(tmp_path / "models")
    return Soil(tmp_path)


@pytest.fixture(scope="module")
def garden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Soil, HttpServer]]:
    soil = Soil(tmp_path_factory.mktemp("garden"))
    os.mkfifo(soil.pipe)
    with serving(soil.workdir, "--no-auth", *FLAGS, settings=soil.settings) as server:
        yield soil, server


def names(ask: Ask) -> list[str]:
    return [tool["name"] for tool in ask("tools/list")["result"]["tools"]]


def tools_of(model: str) -> list[str]:
    return [f"{model}_{operation}" for operation in OPERATIONS]


def assert_stores(ask: Ask, model: str) -> None:
    """Create a record and find it again."""
    created = ask("tools/call", name=f"{model}_create", arguments={"data": {"text": "green"}})
    listed = ask("tools/call", name=f"{model}_list", arguments={})
    records = listed["result"]["structuredContent"]["records"]
    assert records == [created["result"]["structuredContent"]]
    assert records[0]["text"] == "green"


def test_a_new_model_reaches_a_session_by_its_stream(garden: tuple[Soil, HttpServer]) -> None:
    soil, server = garden
    with LegacyHttp(server.mcp) as client, client.events() as events:
        before = names(client.request)
        soil.grow("Sprout")

        assert next(events)["method"] == CHANGED
        assert names(client.request) == [*before, *tools_of("Sprout")]
        assert_stores(client.request, "Sprout")


def test_a_new_model_reaches_a_subscription(garden: tuple[Soil, HttpServer]) -> None:
    soil, server = garden
    with ModernHttp(server.mcp) as client, client.listen() as events:
        assert next(events)["method"] == "notifications/subscriptions/acknowledged"
        before = names(client.request)
        soil.grow("Blossom")

        assert next(events)["method"] == CHANGED
        assert names(client.request) == [*before, *tools_of("Blossom")]
        assert_stores(client.request, "Blossom")


@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_a_new_model_reaches_a_stdio_client(revision: str, soil: Soil) -> None:
    with forked(soil.workdir, *STDIO, *FLAGS, settings=soil.settings) as process:
        client = Stdio(process, revision)
        if revision == LEGACY:
            client.initialize()
        else:
            client.begin("subscriptions/listen", notifications={"toolsListChanged": True})
            assert client.receive()["method"] == "notifications/subscriptions/acknowledged"
        others = [*UTILITIES, *AGENTS, *WORKFLOWS, *MONITORS]
        assert names(client.request) == [*tools_of("Seed"), *others]
        soil.grow("Fruit")

        assert client.receive()["method"] == CHANGED
        assert names(client.request) == [
            *tools_of("Seed"),
            *UTILITIES,
            *AGENTS,
            *WORKFLOWS,
            *MONITORS,
            *tools_of("Fruit"),
        ]
        assert_stores(client.request, "Fruit")
        also = ALSO_CHANGED if revision == LEGACY else []
        assert sorted(each["method"] for each in client.notifications) == also
