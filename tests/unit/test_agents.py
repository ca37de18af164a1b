"""The node itself, which runs where kailash-kaizen is; its parts are tested beside this."""

from __future__ import annotations

import importlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.agent_client import servers as agent_servers
from tests.agent_jobs import run_jobs, settings_for
from tests.e2e.servers import environment
from tests.interop.peers import HERE, peer_python
from tests.model_server import Message, ModelServer, call, results_in, running_model, user_of
from tests.unit.agent_peers import KEY, odd

# The environment may have to be made.
pytestmark = pytest.mark.timeout(240)

# Of kailash-kaizen 2.46.1. Where one has changed, see whether `agents.py` is still right about it.
SOURCES = {
    "run": "ab7cd5ec97ca8cfc",
    "async_run": "12455e5d28dcc445",
    "get_parameters": "c29a78aa00f8de97",
    "_retrieve_mcp_context": "d97dc75164f9149b",
    "_discover_mcp_tools": "7a00cf0ceb33940c",
    "_execute_tool_calls": "5c36d32644801b9d",
    "_provider_llm_response": "36753ff6109c20fd",
    "_run_async_in_sync_context": "e921d300785bae4b",
}

ECHO = call("echo", {"n": 1})
OWN_TOOL = {
    "type": "function",
    "function": {"name": "own", "description": "", "parameters": {"type": "object"}},
}
SILENT = threading.Event()


def a_model(body: dict[str, Any]) -> Message:
    """Makes the calls of the rounds that the user names, and then says what it has read last."""
    said = json.loads(user_of(body))
    done = sum("tool_calls" in message for message in body["messages"])
    rounds = said.get("rounds", [])
    if said["job"] == "a slow model":
        SILENT.wait(30)
    if done < len(rounds):
        return {"tool_calls": rounds[done]}
    return {"content": " ".join(results_in(body)[-1:])}


JOBS: dict[str, dict[str, Any]] = {
    "a call": {"rounds": [[ECHO]]},
    "two calls of one run": {"rounds": [[ECHO], [ECHO]]},
    "no event loop around": {"rounds": [[ECHO]], "runtime": "none"},
    "one of each": {"rounds": [[ECHO]], "mcp_servers": odd(), "tools_to_use": "e*"},
    "servers of the run": {
        "rounds": [[ECHO]],
        "mcp_servers": None,
        "inputs": {"mcp_servers": [odd()], "tools_to_use": ["e*"]},
    },
    "tools of others": {"rounds": [[call("own", {})]], "tools": [OWN_TOOL]},
    "tools of both": {
        "tools": [{**OWN_TOOL, "function": {**OWN_TOOL["function"], "name": "echo"}}]
    },
    "calls for the caller": {"rounds": [[ECHO]], "auto_execute_tools": False},
    "no discovery": {"auto_discover_tools": False, "mcp_servers": [{"command": "/no/such"}]},
    "no servers": {"mcp_servers": []},
    "context": {"mcp_context": ["notes://1", "notes://key"], "auto_discover_tools": False},
    "missing context": {"mcp_context": ["notes://7"]},
    "context of nobody": {"mcp_context": ["notes://1"], "mcp_servers": []},
    "too many rounds": {
        "rounds": [[ECHO], [ECHO], [ECHO]],
        "tool_execution_config": {"max_rounds": 2},
    },
    "a long result": {
        "rounds": [[call("long", {"characters": 3_000})]],
        "tool_execution_config": {"max_result_characters": 1_000},
    },
    "a choice of tools": {"generation_config": {"tool_choice": "none", "temperature": 0}},
    "an unknown limit": {"tool_execution_config": {"max_loops": 2}},
    "a wrong limit": {"tool_execution_config": {"max_rounds": 0}},
    "an unknown tool": {"tools_to_use": ["echo", "ecco"]},
    "tools of no server": {"tools_to_use": ["echo"], "mcp_servers": []},
    "names that are none": {"tools_to_use": [1]},
    "unreal servers": {"use_real_mcp": False},
    "a wrong server": {"mcp_servers": [{"url": "http://localhost/mcp", "token": KEY}]},
    "a slow model": {"timeout": 1},
    "a server that leaves": {"rounds": [[call("die", {})], [ECHO]]},
}


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with running_model(a_model) as server:
        try:
            yield server
        finally:
            SILENT.set()


@pytest.fixture(scope="module")
def ran(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str, dict[str, list[dict[str, Any]]]]:
    """What the nodes have put out and logged, and what the model was asked, by job."""
    jobs = {}
    for name, wanted in JOBS.items():
        settings = {"mcp_servers": [odd()], **wanted}
        rounds, inputs, runtime = (
            settings.pop(key, None) for key in ("rounds", "inputs", "runtime")
        )
        message = json.dumps({"job": name, "rounds": rounds or []})
        given = {key: value for key, value in settings.items() if value is not None}
        jobs[name] = {
            "node": "MCPLLMAgentNode",
            "settings": settings_for(model, message, **given),
            "inputs": inputs or {},
            "runtime": runtime or "local",
        }
    reports, log = run_jobs(jobs, tmp_path_factory.mktemp("agents"))
    SILENT.set()
    bodies: dict[str, list[dict[str, Any]]] = {name: [] for name in JOBS}
    for body in model.bodies:
        bodies[json.loads(user_of(body))["job"]].append(body)
    return reports, log, bodies


@pytest.fixture
def reports(ran: tuple[dict[str, Any], Any, Any]) -> dict[str, Any]:
    return ran[0]


@pytest.fixture
def bodies(ran: tuple[Any, Any, dict[str, list[dict[str, Any]]]]) -> dict[str, list[Any]]:
    return ran[2]


def result_of(report: dict[str, Any]) -> Any:
    assert not report.get("failed"), report
    return json.loads(report["response"]["content"])


def names_in(body: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in body.get("tools", [])]


@pytest.mark.parametrize(
    "job", ["a call", "one of each", "no event loop around", "servers of the run"]
)
def test_the_model_reads_the_result_of_its_call(reports: dict[str, Any], job: str) -> None:
    result = result_of(reports[job])

    assert result["success"] is True
    assert result["result"]["given"] == {"n": 1}


def test_servers_and_tools_may_be_given_to_the_run(bodies: dict[str, list[Any]]) -> None:
    assert names_in(bodies["servers of the run"][0]) == ["echo"]


def test_all_calls_of_a_run_go_to_one_process(bodies: dict[str, list[Any]]) -> None:
    last = bodies["two calls of one run"][-1]
    processes = {json.loads(result)["result"]["process"] for result in results_in(last)}

    assert len(results_in(last)) == 2
    assert len(processes) == 1


def test_a_tool_that_no_code_belongs_to_is_an_error_to_the_model(
    reports: dict[str, Any], bodies: dict[str, list[Any]]
) -> None:
    assert names_in(bodies["tools of others"][0])[:2] == ["own", "echo"]
    assert result_of(reports["tools of others"]) == {
        "success": False,
        "tool": "own",
        "error": "There is no tool 'own' that can be called here.",
    }


def test_calls_may_be_left_to_the_caller(reports: dict[str, Any]) -> None:
    [left] = reports["calls for the caller"]["response"]["tool_calls"]

    assert left["function"]["name"] == "echo"


@pytest.mark.parametrize("job", ["no discovery", "no servers"])
def test_nothing_is_started_and_offered_without_need(
    reports: dict[str, Any], bodies: dict[str, list[Any]], job: str
) -> None:
    assert reports[job]["success"] is True
    assert [names_in(body) for body in bodies[job]] == [[]]


def test_context_is_read_and_no_other_is_invented(bodies: dict[str, list[Any]]) -> None:
    [asked] = bodies["context"]
    context, user = asked["messages"]

    assert context["role"] == "system"
    assert "Resource: notes://1\na note\n" in context["content"]
    assert "Resource: notes://key\n***\n" in context["content"]
    assert user["role"] == "user"
    for job in ("a call", "no servers"):
        assert [each["role"] for each in bodies[job][0]["messages"]] == ["user"]


def test_the_number_of_rounds_is_bounded(
    reports: dict[str, Any], bodies: dict[str, list[Any]]
) -> None:
    assert reports["too many rounds"]["context"]["tools_executed"] == 2
    assert len(bodies["too many rounds"]) == 3


def test_a_result_is_bounded(reports: dict[str, Any]) -> None:
    assert result_of(reports["a long result"])["truncated"].startswith("3")


def test_the_model_may_choose_unless_it_is_told_otherwise(bodies: dict[str, list[Any]]) -> None:
    assert bodies["a call"][0]["tool_choice"] == "auto"
    [told] = bodies["a choice of tools"]
    assert (told["tool_choice"], told["temperature"]) == ("none", 0)


def test_a_model_that_does_not_answer_fails_the_run(reports: dict[str, Any]) -> None:
    assert "the model has not answered within 1 seconds" in reports["a slow model"]["error"]


def test_a_server_that_leaves_is_told_to_the_model(bodies: dict[str, list[Any]]) -> None:
    results = [json.loads(text) for text in results_in(bodies["a server that leaves"][-1])]

    assert [result["success"] for result in results] == [False, False]
    assert results[0]["error"] == "MCP server 'odd': Connection closed."


@pytest.mark.parametrize(
    ("job", "problem"),
    [
        (
            "an unknown limit",
            "tool_execution_config.max_loops: is no setting; there are max_rounds",
        ),
        ("a wrong limit", "tool_execution_config.max_rounds: must be a whole number from 1 to 100"),
        ("an unknown tool", "tools_to_use[1]: no server has a tool 'ecco'"),
        ("tools of no server", "tools_to_use: needs `mcp_servers` and `auto_discover_tools`"),
        ("names that are none", "tools_to_use: must be a list of texts"),
        ("tools of both", "tools_to_use: leave out all but one of the tools called 'echo'"),
        ("unreal servers", "use_real_mcp: there are no other MCP servers than real ones"),
        ("a wrong server", "mcp_servers[0].token: is no key for http"),
        ("missing context", "'notes://7' can't be read. MCP server 'odd': there is no notes://7"),
        ("context of nobody", "mcp_context: needs a server in `mcp_servers` to read from"),
    ],
)
def test_a_wrong_setting_is_an_error_before_the_model_is_asked(
    reports: dict[str, Any], bodies: dict[str, list[Any]], job: str, problem: str
) -> None:
    assert problem in reports[job]["error"]
    assert bodies[job] == []


def test_the_key_of_the_server_is_nowhere(
    ran: tuple[dict[str, Any], str, Any], model: ModelServer
) -> None:
    reports, log, _ = ran

    assert KEY not in json.dumps(reports)
    assert [line for line in log.splitlines() if KEY in line] == []
    assert [request for request in model.requests if KEY in request] == []


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = subprocess.run(
        [peer_python("agent"), HERE / "agent_upstream.py"],
        cwd=tmp_path_factory.mktemp("upstream"),
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_stock_node_is_the_one_that_ours_was_made_for(upstream: dict[str, Any]) -> None:
    assert upstream["sources"] == SOURCES


def test_a_stock_node_that_has_changed_is_refused(upstream: dict[str, Any]) -> None:
    [renamed, changed] = upstream["unsafe"]

    assert "whose _retrieve_mcp_context is not known here" in renamed
    assert "whose _discover_mcp_tools is not known here" in changed


def test_both_nodes_are_registered_each_under_its_name(upstream: dict[str, Any]) -> None:
    assert (upstream["registered"], upstream["stock"]) == (True, True)


def test_without_the_extra_the_import_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"pip install 'kailash-mcp-prod\[agent\]'") as missing:
        importlib.import_module("kailash_mcp_prod.agents")

    assert missing.value.name == "kaizen"


def test_the_page_names_every_key_of_a_server() -> None:
    page = (Path(__file__).parents[2] / "docs" / "llm-agent-node.md").read_text("utf-8")
    keys = {*agent_servers._STDIO_KEYS, *agent_servers._HTTP_KEYS, *agent_servers._TRANSPORTS}
    for key in keys - {"name"}:
        assert f"`{key}`" in page
    for kind, settings in agent_servers._AUTH_KEYS.items():
        assert f'"type": "{kind}"' in page
        assert all(f'"{key}"' in page or f"`{key}`" in page for key in settings)
