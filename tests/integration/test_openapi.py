"""Schemathesis holds REST against its OpenAPI document, and the tools against their schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from dataflow import DataFlow

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.records.operations import Operation

KEY = "key-of-whoever-holds-us-to-our-word"
COMMAND = Path(sys.executable).with_name("schemathesis")

# Both headers carry the key: where only one of them did, the check `ignored_auth` would not see
# that the other one is enough.
HEADERS = {"X-API-Key": KEY, "Authorization": f"Bearer {KEY}"}

# The document names no tools, so it can't say which arguments a tool takes.
GENERIC = """
[[operations]]
include-operation-id = "call_tool"
checks.positive_data_acceptance.enabled = false
"""


@dataclass
class Site:
    """A running server, and a folder for files."""

    url: str
    web: httpx.Client
    folder: Path

    def hold(self, document: str | Path, config: str, *options: str) -> str:
        """Run Schemathesis against the server; it must find nothing to complain of."""
        settings = self.folder / "schemathesis.toml"
        settings.write_text(config)
        headers = [f"--header={name}: {value}" for name, value in HEADERS.items()]
        done = subprocess.run(
            [
                *(COMMAND, f"--config-file={settings}", "run", document, f"--url={self.url}"),
                *(*headers, "--seed=1", "--no-color", "--continue-on-failure", *options),
                "--generation-database=none",
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("openapi")
    db = DataFlow(
        f"sqlite:///{folder}/a.db",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    fields = {"id": str, "name": str, "size": int, "rating": float, "open": bool}
    db.model(type("Company", (), {"__annotations__": fields, "__doc__": "A firm."}))
    config = ServerConfig(
        port=0,
        rate_limit_per_minute=1_000_000,
        max_messages_per_second=1_000_000,
        operations=tuple(Operation),
        api_keys={KEY: {"agent_id": "judge", "permissions": ["*"]}},
    )
    with ExitStack() as stack:
        server = ProductionMCPServer(config, dataflow=db)
        server.start_mcp_server_async()
        stack.callback(server.stop_mcp_server)
        web = stack.enter_context(
            httpx.Client(base_url=server.rest_url or "", headers=HEADERS, trust_env=False)
        )
        yield Site(server.rest_url or "", web, folder)


@pytest.mark.timeout(120)
def test_the_server_keeps_to_its_document(site: Site) -> None:
    told = site.hold(
        f"{site.url}/openapi.json",
        GENERIC,
        "--phases=examples,coverage,fuzzing",
        "--max-examples=25",
    )

    assert "Tested: 7" in told


def with_tools(site: Site) -> dict[str, Any]:
    """The server's document, with an operation for each of its tools."""
    document: dict[str, Any] = site.web.get("/openapi.json").json()
    general = document["paths"].pop("/tools/{name}")["post"]
    document["paths"] = {}
    for listed in site.web.get("/tools").json()["tools"]:
        name = listed["name"]
        tool = site.web.get(f"/tools/{name}").json()
        good = {**general["responses"]["200"]}
        good["content"] = {"application/json": {"schema": tool["outputSchema"]}}
        body = {
            # No body is no arguments.
            "required": bool(tool["inputSchema"].get("required")),
            "content": {"application/json": {"schema": tool["inputSchema"]}},
        }
        document["paths"][f"/tools/{name}"] = {
            "post": {
                **general,
                "operationId": name,
                "parameters": [],
                "requestBody": body,
                "responses": {**general["responses"], "200": good},
            }
        }
    return document


@pytest.mark.timeout(120)
def test_every_tool_keeps_to_its_schemas(site: Site) -> None:
    document = site.folder / "tools.json"
    document.write_text(json.dumps(with_tools(site)))

    site.hold(
        document,
        "",
        "--phases=coverage,fuzzing",
        "--max-examples=4",
        # The other methods of these paths are none of this document's business. And schemas can't
        # say all that is asked of arguments: that a cursor is one of ours, that a filter is no
        # empty one. So what fits them may still be refused; what does not fit must be.
        "--exclude-checks=unsupported_method,allow_header_conformance,positive_data_acceptance",
    )
