"""The OpenAPI document of a Nexus app tells what is served below the prefix, as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from kailash_mcp_prod import ServerConfig, enhance_nexus_with_mcp, errors
from kailash_mcp_prod.nexus.openapi import CODES
from tests.nexus_apps import PREFIX, bearer, closing, make_app

WHO = bearer("alice", "nexus:*", "workflow:*")
GREET = {"name": "greet", "inputs": {"name": "Ada"}}
STEP = {
    "step_name": "greet",
    "step_config": {"type": "tool", "tool": "execute_nexus_workflow", "arguments": GREET},
}
BOTH = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    config = ServerConfig(auth_type=("custom",), database_url=f"sqlite:///{folder}/state.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with closing(make_app(auth=True, server_type="basic")) as app:
            enhance_nexus_with_mcp(app, config=config)
            with TestClient(app.fastapi_app, base_url="http://127.0.0.1") as made:
                yield made


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    # What it refers to are the components of the whole document.
    whole = {**schema, "components": document["components"]}
    Draft202012Validator.check_schema(whole)
    Draft202012Validator(whole).validate(value)


def ask(
    client: TestClient,
    document: dict[str, Any],
    method: str,
    path: str,
    body: Any = None,
    **ids: str,
) -> dict[str, Any]:
    """The answer to a request; both are seen to be of the form that the document says."""
    operation = document["paths"][PREFIX + path][method]
    if body is not None:
        check(document, operation["requestBody"]["content"]["application/json"]["schema"], body)
    answer = client.request(method, PREFIX + path.format(**ids), json=body, headers={**WHO, **BOTH})
    told = operation["responses"].get(str(answer.status_code)) or operation["responses"]["4XX"]
    found: dict[str, Any] = answer.json()
    check(document, told["content"]["application/json"]["schema"], found)
    return found


def test_the_rest_of_the_document_stays(document: dict[str, Any]) -> None:
    assert "/health" in document["paths"]
    assert "HTTPValidationError" in document["components"]["schemas"]


def test_every_path_that_status_names_is_there(
    client: TestClient, document: dict[str, Any]
) -> None:
    endpoints = set(ask(client, document, "get", "/status")["endpoints"].values())

    # OpenAPI has no words for a WebSocket, and the dashboard is for people.
    assert endpoints - {f"{PREFIX}/ws", f"{PREFIX}/dashboard"} <= set(document["paths"])


def test_requests_and_answers_are_as_described(
    client: TestClient, document: dict[str, Any]
) -> None:
    call = {"tool_name": "execute_nexus_workflow", "arguments": GREET}
    path = "/workflows/{workflow_session_id}"

    assert ask(client, document, "get", "/tools")["tools"]
    assert ask(client, document, "post", "/execute-tool", call)["results"]
    other = {"name": "execute_nexus_workflow", "parameters": GREET, "agent_id": "a"}
    assert ask(client, document, "post", "/execute-tool", other)["results"]
    ping = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    assert ask(client, document, "post", "", ping)["result"]
    made = ask(client, document, "post", "/workflows", {"workflow_type": "mine"})
    session = {"workflow_session_id": made["workflow_session_id"]}
    assert ask(client, document, "post", f"{path}/steps", STEP, **session)["success"]
    assert ask(client, document, "get", path, **session)["completed_steps"] == 1
    assert ask(client, document, "get", "/workflows")["count"] == 1
    assert ask(client, document, "delete", path, **session)["removed"] == 1
    assert ask(client, document, "delete", "/workflows")["removed"] == 0
    for error in (
        ask(client, document, "get", path, **session),
        ask(client, document, "post", "/execute-tool", {"name": "nothing"}),
    ):
        assert error["error"]["code"] == "not_found"


def test_all_codes_of_errors_are_told() -> None:
    kinds = {errors.ServerError}
    found = set()
    while kinds:
        kind = kinds.pop()
        found.add(kind.code)
        kinds.update(kind.__subclasses__())

    assert found == set(CODES)


def test_ids_of_operations_are_unique(document: dict[str, Any]) -> None:
    ids = [
        operation["operationId"]
        for path, operations in document["paths"].items()
        if path.startswith(PREFIX)
        for operation in operations.values()
    ]

    assert len(ids) == len(set(ids))
    assert all(
        operation["security"]
        for path, operations in document["paths"].items()
        if path.startswith(PREFIX)
        for operation in operations.values()
    )


def test_no_workflow_and_no_tool_is_named(document: dict[str, Any]) -> None:
    ours = {path: each for path, each in document["paths"].items() if path.startswith(PREFIX)}

    assert "greet" not in str(ours)
