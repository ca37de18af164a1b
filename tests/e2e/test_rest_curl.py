from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import httpx

from tests.e2e.record_tools import ALL_TOOLS
from tests.e2e.servers import HttpServer
from tests.json_schema import check_schema

CURL = shutil.which("curl")


def fetch(url: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """The status and body of a GET, or of a POST of JSON, by curl where there is one."""
    if CURL is None:
        response = httpx.post(url, json=body) if body is not None else httpx.get(url)
        return response.status_code, response.text
    post = [] if body is None else ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    done = subprocess.run(
        [CURL, "-sS", "--noproxy", "*", "-w", "\n%{http_code}", *post, url],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def call(server: HttpServer, tool: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    status, text = fetch(f"{server.rest}/tools/{tool}", arguments)
    return status, json.loads(text)


def test_curl_lists_the_tools_in_order_with_their_schemas(development_server: HttpServer) -> None:
    status, text = fetch(f"{development_server.rest}/tools")

    assert status == 200
    tools = json.loads(text)["tools"]
    assert [tool["name"] for tool in tools] == ALL_TOOLS
    status, text = fetch(f"{development_server.rest}/tools/Company_create")
    described = json.loads(text)
    assert (status, described["name"]) == (200, "Company_create")
    check_schema(described["inputSchema"])
    fields = described["inputSchema"]["properties"]["data"]["properties"]
    assert fields.keys() == tools[0]["inputSchema"]["properties"]["data"]["properties"].keys()
    assert fields["country_code"]["pattern"] == "^[A-Z]{2}$"
    assert described["outputSchema"]["type"] == "object"


def test_curl_lists_the_few_tools_of_the_compact_surface(development_server: HttpServer) -> None:
    status, text = fetch(f"{development_server.rest}/tools?surface=compact")

    assert status == 200
    assert len(json.loads(text)["tools"]) == 12


def test_curl_takes_a_company_through_its_life(development_server: HttpServer) -> None:
    data = {"name": "Südwind & Söhne", "annual_revenue": "0.10"}

    status, created = call(development_server, "Company_create", {"data": data})
    assert (status, created["name"], created["annual_revenue"]) == (200, data["name"], "0.10")
    key = {"id": created["id"]}
    assert call(development_server, "Company_read", key) == (200, created)
    status, updated = call(development_server, "Company_update", {**key, "data": {"city": "Ulm"}})
    assert (status, updated["city"]) == (200, "Ulm")
    query = {"filter": {"city": "Ulm"}, "fields": ["id"], "include_total": True}
    status, listed = call(development_server, "Company_list", query)
    assert (status, listed["records"], listed["total"]) == (200, [key], 1)
    deleted = call(development_server, "Company_delete", key)
    assert deleted == (200, {**key, "deleted": True})
    status, missing = call(development_server, "Company_read", key)
    assert (status, missing["error"]["code"]) == (404, "not_found")


def test_curl_is_told_which_argument_is_wrong(development_server: HttpServer) -> None:
    wrong = {"data": {"name": "X", "employe_count": 3}}

    status, answer = call(development_server, "Company_create", wrong)

    assert status == 400
    assert answer["error"]["code"] == "invalid_arguments"
    assert answer["error"]["field"] == "data.employe_count"
    assert "employee_count" in json.dumps(answer["error"])


def test_curl_is_told_that_there_is_no_such_tool(development_server: HttpServer) -> None:
    status, answer = call(development_server, "Compny_list", {})

    assert (status, answer["error"]["code"]) == (404, "not_found")
    assert "Company_list" in answer["error"]["message"]


def test_curl_sees_health_and_documentation(development_server: HttpServer) -> None:
    status, text = fetch(f"{development_server.rest}/health")
    health = json.loads(text)
    assert (status, health["health_status"]) == (200, "healthy")
    assert health["components"]["database"]["status"] == "healthy"
    assert health["components"]["server"]["tools"] == len(ALL_TOOLS) == 142

    status, page = fetch(f"{development_server.rest}/docs")
    assert status == 200
    assert "swagger" in page.lower()
    status, text = fetch(f"{development_server.rest}/openapi.json")
    assert status == 200
    assert "/tools/{name}" in json.loads(text)["paths"]
