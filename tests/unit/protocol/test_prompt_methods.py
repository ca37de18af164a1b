"""Prompts are listed and made, and arguments completed, in both eras."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.protocol.conftest import Client

ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
TEMPLATE = {"type": "ref/resource", "uri": "sample://{number}"}


async def ask(client: Client, era: str, method: str, **params: Any) -> dict[str, Any]:
    if era == "legacy":
        await client.initialize()
    response: dict[str, Any] = await getattr(client, era)(method, params)
    return response


async def refused(client: Client, method: str, **params: Any) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": 1, "method": method}
    response = await client.send({**message, "params": {**params, "_meta": client.meta}})
    error: dict[str, Any] = response["error"]
    return error


@ERAS
async def test_prompts_are_listed(client: Client, era: str) -> None:
    result = (await ask(client, era, "prompts/list"))["result"]

    assert [each["name"] for each in result["prompts"]] == ["greet"]


@ERAS
async def test_a_prompt_is_made_with_its_arguments(client: Client, era: str) -> None:
    result = (await ask(client, era, "prompts/get", name="greet", arguments={"whom": "Ada"}))[
        "result"
    ]

    assert result["messages"][0]["content"]["text"] == "Greet Ada."


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"name": 5},
        {"name": "nobody"},
        {"name": "greet"},
        {"name": "greet", "arguments": []},
        {"name": "greet", "arguments": {"whom": 5}},
        {"name": "greet", "arguments": {str(number): "" for number in range(65)}},
    ],
)
async def test_a_wrong_request_for_a_prompt_is_invalid(
    client: Client, params: dict[str, Any]
) -> None:
    assert (await refused(client, "prompts/get", **params))["code"] == -32602


@ERAS
async def test_a_variable_is_completed(client: Client, era: str) -> None:
    argument = {"name": "number", "value": "14"}
    result = (await ask(client, era, "completion/complete", ref=TEMPLATE, argument=argument))[
        "result"
    ]

    assert result["completion"]["values"] == ["14", *(str(number) for number in range(140, 150))]
    assert result["completion"]["hasMore"] is False


async def test_at_most_a_hundred_values_are_sent(client: Client) -> None:
    argument = {"name": "number", "value": ""}
    completion = (
        await client.modern("completion/complete", {"ref": TEMPLATE, "argument": argument})
    )["result"]["completion"]

    assert len(completion["values"]) == 100
    assert completion["total"] == 150
    assert completion["hasMore"] is True


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": {"type": "ref/other", "uri": "x"}, "argument": {"name": "n", "value": ""}},
        {"ref": {"type": [], "uri": "x"}, "argument": {"name": "n", "value": ""}},
        {"ref": [], "argument": {"name": "n", "value": ""}},
        {"ref": {"type": "ref/prompt"}, "argument": {"name": "n", "value": ""}},
        {"ref": TEMPLATE, "argument": "number"},
        {"ref": TEMPLATE, "argument": {"name": "number"}},
        {"ref": TEMPLATE, "argument": {"name": "number", "value": "x" * 2000}},
        {"ref": TEMPLATE, "argument": {"name": "number", "value": ""}, "context": []},
        {
            "ref": TEMPLATE,
            "argument": {"name": "number", "value": ""},
            "context": {"arguments": {"a": 1}},
        },
        {"ref": TEMPLATE, "argument": {"name": "other", "value": ""}},
    ],
)
async def test_a_wrong_request_for_completion_is_invalid(
    client: Client, params: dict[str, Any]
) -> None:
    assert (await refused(client, "completion/complete", **params))["code"] == -32602
