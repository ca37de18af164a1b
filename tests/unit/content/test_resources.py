from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.documents import MAX_TEXT, contents
from kailash_mcp_prod.content.resources import absent
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.spec import ToolCall
from tests.json_schema import check_schema
from tests.unit.content.conftest import ALL, NOBODY, Content, grants


async def document(content: Content, uri: str, principal: Principal = ALL) -> Any:
    [read] = await content.resources.read_resource(principal, uri, request_id="r1")
    return json.loads(read["text"])


async def test_a_model_s_document_has_its_schemas_and_calls_that_fit(content: Content) -> None:
    for uri in [each["uri"] for each in await content.resources.resources(ALL)][1:-1]:
        described = await document(content, uri)
        for schema in (described["record_schema"], described["new_record_schema"]):
            check_schema(schema)
        tools = {each.name: each for each in content.service.visible(ALL)}
        for tool in described["tools"]:
            schema = tools[tool["name"]].input_schema
            Draft202012Validator(schema).validate(tool["example_arguments"])
        assert described["record_uri"] == f"{uri}/{{id}}"


async def test_a_document_tells_of_what_its_reader_may_use_and_of_nothing_else(
    content: Content,
) -> None:
    described = await document(content, "dataflow://models/Company", grants("Company:list"))
    overview = await document(content, "dataflow://models", grants("Company:list"))

    assert [each["name"] for each in described["tools"]] == ["Company_list"]
    assert {"new_record_schema", "record_uri", "example_record_uri"} & described.keys() == set()
    assert "record_uri" not in overview
    assert (await document(content, "dataflow://models", NOBODY))["models"] == []


async def test_the_values_of_choices_are_told_without_forbidding_others(content: Content) -> None:
    schema = (await document(content, "dataflow://models/Quote"))["record_schema"]

    assert schema["properties"]["status"]["examples"][0] == "draft"
    assert "enum" not in schema["properties"]["status"]


async def test_a_tool_of_an_own_name_is_found_by_what_it_does(content: Content) -> None:
    async def handler(call: ToolCall) -> dict[str, Any]:
        return {"id": call.arguments["id"], "by": "own"}

    read = content.service.registry.get("Company_read")
    assert read is not None
    content.service.registry.remove_group("Company")
    content.service.registry.add([replace(read, name="look_up", handler=handler)])

    assert content.catalogue.usable(ALL)["Company"].tool(Operation.READ) == "look_up"
    assert await document(content, "dataflow://models/Company/c1") == {"id": "c1", "by": "own"}


async def test_a_record_that_comes_under_another_key_is_not_there(content: Content) -> None:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        return {"id": "c1"}

    read = content.service.registry.get("Company_read")
    assert read is not None
    content.service.registry.add([replace(read, handler=handler)])

    with pytest.raises(NotFoundError):
        await document(content, "dataflow://models/Company/C1")


async def test_a_custom_tool_of_a_model_is_described_in_words(content: Content) -> None:
    read = content.service.registry.get("Company_read")
    assert read is not None
    content.service.registry.add([replace(read, name="merge", operation=None)])
    described = await document(content, "dataflow://models/Company")

    assert described["tools"][-1]["name"] == "merge"
    assert described["tools"][-1]["description"] == read.description


def test_a_document_has_at_most_a_million_characters() -> None:
    fits = {"text": "x" * (MAX_TEXT - 11)}
    assert len(contents("u", fits, instead="")["text"]) == MAX_TEXT
    with pytest.raises(InvalidArgumentsError, match="Ask for less") as refused:
        contents("u", {"text": "x" * MAX_TEXT}, instead="Ask for less.")
    assert refused.value.details == {"characters": MAX_TEXT + 11}


def test_the_words_of_absence_depend_on_the_uri_alone() -> None:
    assert str(absent("x")) == (
        "There is no resource 'x' that you may read. dataflow://models names what there is."
    )
    assert "it is dataflow://models/A/b%2Fc." in str(absent("dataflow://models/A/b/c"))


async def test_the_health_is_for_those_who_may_monitor(content: Content) -> None:
    assert await document(content, "server://health", grants("monitor:read")) == content.health
    with pytest.raises(NotFoundError):
        await document(content, "server://health", grants("Company:*"))


async def test_nothing_is_worked_out_once_nobody_listens(content: Content) -> None:
    told: list[Any] = []
    end = content.resources.on_resources_updated(lambda *news: told.append(news))
    await document(content, "dataflow://models")
    end()
    end()

    assert told == []
    assert not content.service.listeners._listeners
