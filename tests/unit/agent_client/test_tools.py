from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kailash_mcp_prod.agent_client.sessions import AgentSession
from kailash_mcp_prod.agent_client.tools import OfferedTool, ToolCalls, offered_tools, read_context
from kailash_mcp_prod.errors import InvalidArgumentsError
from tests.model_server import call
from tests.odd_server import TOOLS
from tests.unit.agent_peers import KEY, connected, odd

NAMES = [tool["name"].replace(".", "_") for tool in TOOLS]


@pytest.fixture
async def session() -> AsyncIterator[AgentSession]:
    async with connected(odd(timeout=5)) as [session]:
        yield session


async def results_of(session: AgentSession, *calls: Any, longest: int = 5_000) -> list[Any]:
    tools = offered_tools([session], None, [])
    results = await ToolCalls(tools, session.secrets, longest).make(calls)
    return [json.loads(result["content"]) for result in results]


def names_of(tools: list[OfferedTool]) -> list[str]:
    return [tool.name for tool in tools]


async def test_a_provider_is_told_name_description_and_parameters_alone(
    session: AgentSession,
) -> None:
    [echo, *_] = offered_tools([session], None, [])

    assert echo.definition == {
        "type": "function",
        "function": {
            "name": "echo",
            "description": "Gives back.",
            "parameters": {"type": "object"},
        },
    }


async def test_all_tools_are_offered_under_names_that_providers_allow(
    session: AgentSession,
) -> None:
    assert names_of(offered_tools([session], None, [])) == NAMES


@pytest.mark.parametrize(
    ("chosen", "offered"),
    [
        (["echo"], ["echo"]),
        (["notes", "echo"], ["echo", "notes"]),
        (["note*"], ["note_down", "notes"]),
        (["note.down"], ["note_down"]),
        (["note_down"], ["note_down"]),
        (["*"], NAMES),
        ([], []),
    ],
)
async def test_tools_to_use_chooses_by_name_or_wildcard(
    session: AgentSession, chosen: list[str], offered: list[str]
) -> None:
    assert names_of(offered_tools([session], chosen, [])) == offered


@pytest.mark.parametrize("pattern", ["Echo", "echoes", "x*", ""])
async def test_a_name_that_fits_no_tool_is_refused(session: AgentSession, pattern: str) -> None:
    with pytest.raises(InvalidArgumentsError, match="no server has a tool") as refused:
        offered_tools([session], ["echo", pattern], [])

    assert refused.value.field == "tools_to_use[1]"


async def test_tools_of_one_name_get_the_names_of_their_servers() -> None:
    async with connected(odd("north"), odd("south.east")) as sessions:
        both = offered_tools(sessions, ["echo", "south_east__notes"], [])
        [first, second] = await ToolCalls(both, [], 5_000).make(
            [call("north__echo", {"n": 1}), call("south_east__echo", {"n": 2})]
        )

    assert names_of(both) == ["north__echo", "south_east__echo", "south_east__notes"]
    results = [json.loads(each["content"])["result"] for each in (first, second)]
    assert [result["given"] for result in results] == [{"n": 1}, {"n": 2}]
    assert results[0]["process"] != results[1]["process"]


async def test_a_tool_with_the_name_of_one_of_the_caller_is_refused(session: AgentSession) -> None:
    with pytest.raises(InvalidArgumentsError, match="all but one of the tools called 'echo'"):
        offered_tools([session], None, ["echo"])


async def test_a_name_too_long_for_providers_is_refused_only_if_it_is_offered(
    session: AgentSession,
) -> None:
    session.tools = [*session.tools, {"name": "x" * 65, "inputSchema": {}}]

    with pytest.raises(InvalidArgumentsError, match="names of 1 to 64 characters"):
        offered_tools([session], None, [])
    assert names_of(offered_tools([session], ["echo"], [])) == ["echo"]


async def test_a_result_is_json_text_under_the_id_of_its_call(session: AgentSession) -> None:
    tools = offered_tools([session], None, [])

    [result] = await ToolCalls(tools, [], 5_000).make([call("note_down", {"a": "ä"}, 7)])

    assert result == {
        "tool_call_id": "call_7",
        "content": '{"success":true,"tool":"note_down","result":{"notes":1}}',
    }


async def test_a_failed_tool_is_no_success_and_its_error_is_told(session: AgentSession) -> None:
    assert await results_of(session, call("fail", {})) == [
        {
            "success": False,
            "tool": "fail",
            "error": {"code": "invalid_arguments", "message": "name: is missing"},
        }
    ]


async def test_contents_without_structure_become_text(session: AgentSession) -> None:
    [result] = await results_of(session, call("blocks", {}))

    assert result["result"].splitlines() == [
        "first",
        "[image image/png]",
        "a note",
        "[bytes notes://2]",
        "[resource notes://3]",
    ]


async def test_calls_are_made_in_their_order_where_one_of_them_changes_something(
    session: AgentSession,
) -> None:
    calls = [call("note_down", {"n": n}, n) for n in range(5)]
    results = await results_of(session, *calls, call("notes", {}))

    assert [result["result"]["notes"] for result in results[:5]] == [1, 2, 3, 4, 5]
    assert results[5]["result"]["notes"] == [{"n": n} for n in range(5)]


async def test_results_of_reading_calls_keep_their_order(session: AgentSession) -> None:
    results = await results_of(session, *(call("echo", {"n": n}) for n in range(12)))

    assert [result["result"]["given"]["n"] for result in results] == list(range(12))


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (call("Company_create", {}), "There is no tool 'Company_create' that can be called here."),
        (call("note.down", {}), "There is no tool 'note.down' that can be called here."),
        ({"id": "1", "function": {"name": "echo", "arguments": "{"}}, "must be a JSON object."),
        ({"id": "1", "function": {"name": "echo", "arguments": "[1]"}}, "must be a JSON object."),
        ({"id": "1"}, "There is no tool '' that can be called here."),
        (call("refuse", {}), "MCP server 'odd': not with ***."),
        (call("die", {}), "MCP server 'odd': Connection closed."),
    ],
)
async def test_a_call_that_cannot_be_made_tells_the_model_why(
    session: AgentSession, bad: dict[str, Any], problem: str
) -> None:
    [result] = await results_of(session, bad)

    assert result["success"] is False
    assert result["error"].endswith(problem)


async def test_a_tool_that_is_not_offered_is_not_called(session: AgentSession) -> None:
    calls = ToolCalls(offered_tools([session], ["notes"], []), [], 5_000)

    [refused, notes] = await calls.make([call("note_down", {}), call("notes", {})])

    assert json.loads(refused["content"])["success"] is False
    assert json.loads(notes["content"])["result"] == {"notes": []}


async def test_arguments_may_be_an_object_or_missing(session: AgentSession) -> None:
    function = {"name": "echo", "arguments": {"n": 1}}
    [given, none] = await results_of(
        session, {"id": "1", "function": function}, {"id": "2", "function": {"name": "echo"}}
    )

    assert [given["result"]["given"], none["result"]["given"]] == [{"n": 1}, {}]


async def test_a_call_of_a_providers_own_client_is_understood(session: AgentSession) -> None:
    class Call:
        def model_dump(self) -> dict[str, Any]:
            return call("echo", {"n": 1})

    [result] = await results_of(session, Call())

    assert result["result"]["given"] == {"n": 1}


async def test_no_more_calls_are_made_at_a_time_than_is_sound(session: AgentSession) -> None:
    results = await results_of(session, *(call("note_down", {"n": n}) for n in range(34)))

    assert [result["success"] for result in results] == [True] * 32 + [False] * 2
    assert results[31]["result"] == {"notes": 32}
    assert results[33]["error"] == "Not called: at most 32 calls are made at a time."


async def test_a_long_result_is_cut_and_says_so(session: AgentSession) -> None:
    [fitting, cut] = await results_of(
        session,
        call("long", {"characters": 900}),
        call("long", {"characters": 5_000}),
        longest=1_000,
    )

    assert len(fitting["result"]) == 900
    assert cut["success"] is True
    assert cut["truncated"].endswith("characters are too many; ask for less.")
    assert cut["beginning"] == '"' + "x" * 499


async def test_the_key_of_a_server_does_not_reach_the_model(session: AgentSession) -> None:
    [result] = await results_of(session, call("tell_key", {}))

    assert result["result"] == "The key is ***."


async def test_context_comes_from_the_first_server_that_has_it() -> None:
    async with connected(odd("north"), odd("south"), with_tools=False) as sessions:
        context = await read_context(sessions, ["notes://1", "notes://key"], [KEY], 100)

    assert context == [
        {"uri": "notes://1", "content": "a note", "source": "north"},
        {"uri": "notes://key", "content": "***", "source": "north"},
    ]


async def test_context_that_nobody_has_is_an_error_with_the_reasons(session: AgentSession) -> None:
    with pytest.raises(InvalidArgumentsError, match="'odd': there is no notes://2") as failed:
        await read_context([session], ["notes://1", "notes://2"], [], 100)

    assert failed.value.field == "mcp_context[1]"


async def test_context_that_is_too_long_is_an_error(session: AgentSession) -> None:
    with pytest.raises(InvalidArgumentsError, match="has 6 characters; at most 5 are taken"):
        await read_context([session], ["notes://1"], [], 5)
