"""The setting `execution`: which store the tools of a running server work on, and who says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.servers import HttpServer, forked, serving

Call = Callable[..., dict[str, Any]]

AUDITED = '''
import os
from dataflow import DataFlow

db = DataFlow(
    os.environ["DATABASE_URL"], pool_size=20, enable_caching=False, enable_model_persistence=False
)


@db.model
class Plain:
    """Something."""

    id: str
    name: str


@db.model
class Versioned:
    """Something whose changes DataFlow counts."""

    id: str
    name: str

    __dataflow__ = {"versioned": True}
'''


def caller(server: HttpServer) -> Call:
    def call(tool: str, **arguments: Any) -> dict[str, Any]:
        answer = httpx.post(f"{server.rest}/tools/{tool}", json=arguments, timeout=20)
        result: dict[str, Any] = answer.raise_for_status().json()
        return result

    return call


def assert_lives(call: Call, model: str) -> None:
    """A record is made, found, changed, listed and deleted."""
    made = call(f"{model}_create", data={"name": "first"})
    assert call(f"{model}_read", id=made["id"]) == made
    changed = call(f"{model}_update", id=made["id"], data={"name": "second"})
    assert changed["name"] == "second"
    assert call(f"{model}_list", filter={"name": "second"})["records"] == [changed]
    assert call(f"{model}_delete", id=made["id"])["deleted"] is True
    assert call(f"{model}_list", filter={"name": "second"})["count"] == 0


@pytest.fixture
def audited(tmp_path: Path, sqlite_url: str) -> dict[str, str]:
    """The settings for an application one of whose models has an option that only nodes know."""
    (tmp_path / "audited.py").write_text(AUDITED)
    return {"DATABASE_URL": sqlite_url, "MCP_MODELS": "audited:db"}


def test_with_nodes_all_models_run_on_the_nodes_and_say_so(
    database_url: str, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": database_url}
    with serving(tmp_path, "--no-auth", "--execution", "nodes", settings=settings) as server:
        call = caller(server)
        told = call("get_dataflow_models_info")["models"]
        assert_lives(call, "Company")

    assert len(told) == 13
    reason = "The setting execution is nodes."
    assert [each["execution"] for each in told] == [{"store": "nodes", "reason": reason}] * 13


def test_by_default_only_a_model_that_needs_the_nodes_runs_on_them(
    audited: dict[str, str], tmp_path: Path
) -> None:
    with serving(tmp_path, "--no-auth", settings=audited) as server:
        call = caller(server)
        told = {
            each["name"]: each["execution"] for each in call("get_dataflow_models_info")["models"]
        }
        assert_lives(call, "Plain")
        assert_lives(call, "Versioned")

    assert told["Plain"]["store"] == "sql"
    assert told["Versioned"] == {
        "store": "nodes",
        "reason": "Only DataFlow's nodes know versioned.",
    }


def test_sql_refuses_a_model_that_needs_the_nodes(audited: dict[str, str], tmp_path: Path) -> None:
    flags = ["--port", "0", "--no-auth", "--execution", "sql"]
    with forked(tmp_path, *flags, settings=audited) as process:
        assert process.process.wait(30) == 3
        said = process.errors.finish().splitlines()[-1]

    assert said == (
        "Error: Model Versioned: Only DataFlow's nodes know versioned. Set execution to auto or "
        "nodes."
    )
