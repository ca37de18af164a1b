"""Resources, prompts and completion of the real server, over HTTP and in both eras."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from dataflow import DataFlow
from hypothesis import given, settings
from hypothesis import strategies as st

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Credentials, Principal
from tests.e2e.exchanges import LegacyHttp, ModernHttp
from tests.postgres import PostgresServer

MODELS = {
    "Company": {"id": str, "name": str},
    "Customer": {"id": str, "name": str, "company_id": str},
    "Counter": {"id": int, "label": str},
    "Room": {"id": str, "name": str},
}
RECORD = {"type": "ref/resource", "uri": "dataflow://models/{model}/{id}"}
MODEL = {"type": "ref/resource", "uri": "dataflow://models/{model}"}
UPDATED = "notifications/resources/updated"

Client = LegacyHttp | ModernHttp
Connect = Callable[..., Client]
numbers = count()


class Badges:
    """Takes a bearer token for what it says: permissions, tenant and rate limit in JSON."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        token = json.loads(base64.urlsafe_b64decode(credentials.bearer_token or "e30="))
        return Principal(
            token["subject"],
            frozenset(token["permissions"]),
            method="badge",
            tenant=token.get("tenant"),
            rate_limit=token.get("rate_limit"),
        )


def badge(*permissions: str, **more: Any) -> dict[str, str]:
    """The header of a new principal."""
    token = {"subject": f"badge-{next(numbers)}", "permissions": permissions, **more}
    text = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
    return {"authorization": f"Bearer {text}"}


def dataflow(url: str) -> Any:
    db = DataFlow(url, pool_size=20, enable_caching=False, enable_model_persistence=False)
    for name, fields in MODELS.items():
        options = {"multi_tenant": True} if name == "Room" else {}
        db.model(
            type(
                name,
                (),
                {"__annotations__": fields, "__doc__": f"A {name}.", "__dataflow__": options},
            )
        )
    return db


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
) -> Iterator[ProductionMCPServer]:
    """A server in a thread of its own; each test writes records of its own."""
    with pytest.MonkeyPatch.context() as patch, postgres_server.database() as postgres_url:
        for name in os.environ:
            if name.startswith("MCP_") or name in {"DATABASE_URL", "REDIS_URL", "API_KEYS"}:
                patch.delenv(name)
        folder: Path = tmp_path_factory.mktemp("content")
        url = postgres_url if request.param == "postgresql" else f"sqlite:///{folder / 'a.db'}"
        server = ProductionMCPServer(
            ServerConfig(port=0, auth_type="custom", rate_limit_per_minute=1_000_000),
            dataflow=dataflow(url),
            auth_providers=[Badges()],
        )
        server.start_mcp_server_async()
        yield server
        server.stop_mcp_server()


@pytest.fixture(params=[LegacyHttp, ModernHttp], ids=["legacy", "modern"])
def connect(request: pytest.FixtureRequest, server: ProductionMCPServer) -> Iterator[Connect]:
    """Opens clients of either era with the permissions that are named."""
    opened: list[Client] = []

    def open_client(*permissions: str, **more: Any) -> Client:
        client: Client = request.param(server.mcp_url, badge(*permissions, **more))
        opened.append(client)
        return client.__enter__()

    yield open_client
    for each in opened:
        each.__exit__()


def result(client: Client, method: str, **params: Any) -> Any:
    answer = client.request(method, **params)
    assert "result" in answer, answer
    return answer["result"]


def error(client: Client, method: str, **params: Any) -> Any:
    answer = client.request(method, **params)
    assert "error" in answer, answer
    return answer["error"]


def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = result(client, "tools/call", name=tool, arguments=arguments)
    assert not answer.get("isError"), answer
    content: dict[str, Any] = answer["structuredContent"]
    return content


def read(client: Client, uri: str) -> Any:
    [content] = result(client, "resources/read", uri=uri)["contents"]
    assert (content["uri"], content["mimeType"]) == (uri, "application/json")
    return json.loads(content["text"])


def listed(client: Client) -> list[str]:
    return [each["uri"] for each in result(client, "resources/list")["resources"]]


def complete(client: Client, ref: dict[str, str], name: str, value: str, **given: str) -> Any:
    params: dict[str, Any] = {"ref": ref, "argument": {"name": name, "value": value}}
    if given:
        params["context"] = {"arguments": given}
    return result(client, "completion/complete", **params)["completion"]


def words(refused: dict[str, Any], uri: str) -> Any:
    """What a refusal says, without the URI that was asked for and the id of the request."""
    text = json.dumps({"message": refused["message"], "data": refused["data"]})
    assert uri in text
    return refused["code"], text.replace(uri, "<uri>").replace(refused["data"]["request_id"], "")


def test_all_that_is_listed_can_be_read(connect: Connect) -> None:
    client = connect("*")
    uris = listed(client)

    assert uris == [
        "dataflow://models",
        *(f"dataflow://models/{name}" for name in MODELS),
        "server://health",
    ]
    templates = result(client, "resources/templates/list")["resourceTemplates"]
    assert [each["uriTemplate"] for each in templates] == [
        MODEL["uri"],
        RECORD["uri"],
        "collaboration://{workspace_id}",
    ]
    documents = {uri: read(client, uri) for uri in uris}
    assert [each["name"] for each in documents["dataflow://models"]["models"]] == list(MODELS)
    assert documents["dataflow://models/Company"]["record_schema"]["required"][:2] == ["id", "name"]
    assert documents["server://health"]["components"]["database"]["status"] == "healthy"
    assert "://" not in json.dumps(documents["server://health"])


def test_a_record_is_read_as_the_tool_reads_it(connect: Connect) -> None:
    client = connect("*")
    made = call(client, "Company_create", data={"id": f"a/b ü {next(numbers)}", "name": "Acme"})
    counted = call(client, "Counter_create", data={"label": "one"})
    uri = f"dataflow://models/Company/a%2Fb%20%C3%BC%20{made['id'].split()[-1]}"

    assert read(client, uri) == call(client, "Company_read", id=made["id"])
    assert read(client, f"dataflow://models/Counter/{counted['id']}") == counted


@pytest.mark.parametrize(
    "uri",
    [
        "dataflow://models/Counter/1.0",
        "dataflow://models/Counter/01",
        "dataflow://models/Counter/+1",
        "dataflow://models/Counter/99999999999999999999",
        "dataflow://models/Company/%00",
        "dataflow://models/Company/",
        "dataflow://models/Company/%zz",
        "dataflow://models/Nothing",
        "dataflow://models/Company/x/y",
        "Company_list",
        "get_dataflow_models_info",
        "server_health",
        "server://healthy",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_resource_is_not_found(connect: Connect, uri: str) -> None:
    refused = error(connect("*"), "resources/read", uri=uri)

    assert refused["code"] in {-32002, -32602}
    assert refused["data"]["code"] == "not_found"


def test_what_may_not_be_read_is_as_absent_as_what_does_not_exist(connect: Connect) -> None:
    owner, stranger = connect("*"), connect("Customer:*")
    made = call(owner, "Company_create", data={"name": "Hidden"})

    assert listed(stranger) == ["dataflow://models", "dataflow://models/Customer"]
    assert complete(stranger, MODEL, "model", "")["values"] == ["Customer"]
    assert complete(stranger, RECORD, "model", "c")["values"] == ["Customer"]
    assert complete(stranger, RECORD, "id", "", model="Company")["values"] == []
    assert "Company" not in json.dumps(read(stranger, "dataflow://models")["models"][0]["tools"])
    assert [each["name"] for each in read(stranger, "dataflow://models")["models"]] == ["Customer"]
    for hidden, unknown in (
        (f"dataflow://models/Company/{made['id']}", "dataflow://models/Nothing/c1"),
        ("dataflow://models/Company", "dataflow://models/Nothing"),
        ("server://health", "server://wealth"),
    ):
        refusals = [
            words(error(stranger, "resources/read", uri=uri), uri) for uri in (hidden, unknown)
        ]
        assert refusals[0] == refusals[1]


def test_a_tenant_reads_and_completes_its_own_records_only(connect: Connect) -> None:
    acme, other = connect("Room:*", tenant="acme"), connect("Room:*", tenant="other")
    nobody = connect("Room:*")
    made = call(acme, "Room_create", data={"id": f"room-{next(numbers)}", "name": "Hall"})
    uri, missing = f"dataflow://models/Room/{made['id']}", "dataflow://models/Room/none"

    assert read(acme, uri) == made
    assert made["id"] in complete(acme, RECORD, "id", "room-", model="Room")["values"]
    assert complete(other, RECORD, "id", "room-", model="Room")["values"] == []
    assert words(error(other, "resources/read", uri=uri), uri) == words(
        error(other, "resources/read", uri=missing), missing
    )
    assert complete(nobody, RECORD, "id", "", model="Room")["values"] == []
    for each in (uri, missing):
        assert error(nobody, "resources/read", uri=each)["data"]["code"] == "forbidden"


def test_reading_counts_as_a_call_whether_something_is_there_or_not(connect: Connect) -> None:
    for uri in (
        "dataflow://models",
        "dataflow://models/Company/x",
        "dataflow://models/Secret",
        "x",
    ):
        client = connect("Company:*", rate_limit=2)
        for _ in range(2):
            client.request("resources/read", uri=uri)
        assert error(client, "resources/read", uri=uri)["data"]["code"] == "rate_limited"
        prompt = error(client, "prompts/get", name="explore_data")
        assert prompt["data"]["code"] == "rate_limited"


def test_a_record_too_large_for_a_resource_is_refused_with_the_tool_for_it(
    connect: Connect,
) -> None:
    client = connect("*")
    made = call(client, "Company_create", data={"name": "x" * 1_048_576})
    refused = error(client, "resources/read", uri=f"dataflow://models/Company/{made['id']}")

    assert refused["code"] == -32602
    assert "Company_read" in refused["message"]
    call(client, "Company_delete", id=made["id"])


def test_a_surface_is_no_policy_so_resources_are_read_from_the_small_ones_too(
    server: ProductionMCPServer,
) -> None:
    with ModernHttp(f"{server.mcp_url}/compact", badge("*")) as client:
        assert read(client, "dataflow://models/Company")["name"] == "Company"
        assert complete(client, RECORD, "id", "nothing-", model="Company")["values"] == []


def test_a_session_hears_of_the_writes_to_what_it_subscribed_to(
    server: ProductionMCPServer,
) -> None:
    with LegacyHttp(server.mcp_url or "", badge("*")) as client:
        made = call(client, "Company_create", data={"name": "a"})
        uri = f"dataflow://models/Company/{made['id']}"
        refused = error(client, "resources/subscribe", uri="dataflow://models/Company/none")
        assert refused["code"] == -32002
        result(client, "resources/subscribe", uri=uri)
        with client.events() as events:
            call(client, "Company_update", id=made["id"], data={"name": "b"})
            assert next(events)["params"] == {"uri": uri}
            call(client, "Company_create", data={"name": "of no interest"})
            httpx.post(
                f"{server.rest_url}/tools/Company_delete",
                json={"id": made["id"]},
                headers=badge("Company:write"),
            ).raise_for_status()
            assert next(events) == {"jsonrpc": "2.0", "method": UPDATED, "params": {"uri": uri}}
        result(client, "resources/unsubscribe", uri=uri)


def test_a_tenant_hears_of_its_own_writes_only(server: ProductionMCPServer) -> None:
    def writer(tenant: str) -> ModernHttp:
        return ModernHttp(server.mcp_url or "", badge("*", tenant=tenant))

    model = "dataflow://models/Room"
    with (
        writer("acme") as acme,
        writer("other") as other,
        ModernHttp(server.mcp_url or "", badge("*")) as nobody,
        LegacyHttp(server.mcp_url or "", badge("*", tenant="other")) as session,
    ):
        # Records that are gone for good: their keys are free for everybody.
        key = f"room-{next(numbers)}"
        call(other, "Room_create", data={"id": key, "name": "Hall"})
        record, company = f"{model}/{key}", "dataflow://models/Company"
        for uri in (record, model, company):
            result(session, "resources/subscribe", uri=uri)
        with (
            other.listen(resourceSubscriptions=[record, model, company]) as told,
            nobody.listen(resourceSubscriptions=[model, company]) as untold,
            session.events() as events,
        ):
            assert next(told)["params"]["notifications"]
            assert next(untold)["params"]["notifications"]
            call(other, "Room_delete", id=key)
            for heard in (told, events):
                assert [next(heard)["params"]["uri"] for _ in range(2)] == [record, model]
            call(acme, "Room_create", data={"id": key, "name": "Hall"})
            call(acme, "Room_update", id=key, data={"name": "Den"})
            call(acme, "Room_delete", id=key)
            call(acme, "Company_create", data={"name": "of no tenant"})
            for heard in (told, untold, events):
                assert next(heard)["params"]["uri"] == company


def test_a_listener_hears_of_records_one_by_one_and_of_many_by_their_model(
    server: ProductionMCPServer,
) -> None:
    with ModernHttp(server.mcp_url or "", badge("*")) as client:
        keys = [f"bulk-{next(numbers)}" for _ in range(101)]
        rows = [{"id": key, "name": "n"} for key in keys]
        call(client, "Company_bulk_create", data=rows)
        model, record = "dataflow://models/Company", f"dataflow://models/Company/{keys[0]}"
        with client.listen(resourceSubscriptions=[model, record, "dataflow://models/No"]) as told:
            honoured = next(told)["params"]["notifications"]
            assert honoured == {"resourceSubscriptions": [model, record]}
            call(client, "Company_bulk_delete", ids=keys)
            assert next(told)["params"]["uri"] == model
            call(client, "Company_bulk_create", data=rows[:2])
            assert [next(told)["params"]["uri"] for _ in range(2)] == [record, model]
            call(client, "Company_bulk_delete", filter={"id": {"$in": keys}})
            assert [next(told)["params"]["uri"] for _ in range(2)] == [record, model]


def test_prompts_are_offered_where_their_models_are_usable(connect: Connect) -> None:
    def names(client: Client) -> list[str]:
        return [each["name"] for each in result(client, "prompts/list")["prompts"]]

    assert names(connect("*")) == ["explore_data", "onboard_customer", "investigate_error"]
    stranger = connect("Customer:*")
    assert names(stranger) == ["explore_data", "investigate_error"]
    refused = error(stranger, "prompts/get", name="onboard_customer")
    assert refused["message"].replace("onboard_customer", "") == error(
        stranger, "prompts/get", name="nothing"
    )["message"].replace("nothing", "")


def test_a_prompt_comes_with_the_document_that_it_speaks_of(connect: Connect) -> None:
    client = connect("*")
    given = {"model": "Customer", "field": ""}
    prompt = result(client, "prompts/get", name="explore_data", arguments=given)
    text, document = [each["content"] for each in prompt["messages"]]

    assert "`Customer_list`" in text["text"]
    assert "`company_id` holds the id of a Company" in text["text"]
    assert json.loads(document["resource"]["text"]) == read(client, "dataflow://models/Customer")
    investigated = result(client, "prompts/get", name="investigate_error")["messages"]
    assert [each["content"].get("resource", {}).get("uri") for each in investigated] == [
        None,
        "dataflow://models",
        "server://health",
    ]


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("explore_data", {"modell": "Company"}, "arguments.modell"),
        ("explore_data", {"model": "Nothing"}, "arguments.model"),
        ("explore_data", {"field": "name"}, "arguments.model"),
        ("explore_data", {"model": "Company", "field": "nam"}, "arguments.field"),
        ("onboard_customer", {"company": "x" * 256}, "arguments.company"),
    ],
)
def test_a_wrong_argument_of_a_prompt_is_named_with_the_fix(
    connect: Connect, name: str, arguments: dict[str, str], field: str
) -> None:
    refused = error(connect("*"), "prompts/get", name=name, arguments=arguments)

    assert (refused["code"], refused["data"]["field"]) == (-32602, field)
    assert refused["message"].startswith("arguments.")


def test_ids_and_names_are_completed_literally_and_by_what_may_be_listed(
    connect: Connect,
) -> None:
    client = connect("*")
    mark = f"k{next(numbers)}%_"
    for key in (f"{mark}b", f"{mark}a", f"{mark[:-1]}xx"):
        call(client, "Company_create", data={"id": key, "name": f"Name of {key}"})

    assert complete(client, RECORD, "id", mark, model="Company") == {
        "values": [f"{mark}a", f"{mark}b"],
        "total": 2,
        "hasMore": False,
    }
    company = {"type": "ref/prompt", "name": "onboard_customer"}
    assert complete(client, company, "company", f"name OF {mark}")["values"] == [
        f"Name of {mark}a",
        f"Name of {mark}b",
    ]
    assert f"{mark}a" in complete(client, company, "company", mark)["values"]
    assert complete(client, RECORD, "id", "x" * 300, model="Company")["values"] == []
    writer = connect("Company:create", "Company:read_nothing")
    assert complete(writer, MODEL, "model", "")["values"] == ["Company"]
    assert (
        error(writer, "completion/complete", ref=RECORD, argument={"name": "id", "value": ""})[
            "data"
        ]["code"]
        == "not_found"
    )


def test_whole_numbers_are_completed_by_their_digits(connect: Connect) -> None:
    client = connect("*")
    rows = [{"label": "n"} for _ in range(130)]
    made = call(client, "Counter_bulk_create", data=rows)["ids"]
    prefix = str(made[-1])[:-1]
    everything = call(client, "Counter_list", fields=["id"], limit=1000, sort=["id"])["records"]
    fitting = [str(each["id"]) for each in everything if str(each["id"]).startswith(prefix)]

    assert complete(client, RECORD, "id", prefix, model="Counter")["values"] == fitting[:100]
    many = complete(client, RECORD, "id", "", model="Counter")
    assert (len(many["values"]), many["hasMore"], "total" in many) == (100, True, False)
    assert complete(client, RECORD, "id", "x", model="Counter")["values"] == []


def test_models_and_fields_are_completed_by_prefix_and_then_by_part(connect: Connect) -> None:
    client = connect("*")
    explore = {"type": "ref/prompt", "name": "explore_data"}

    assert complete(client, explore, "model", "co")["values"] == ["Company", "Counter"]
    assert complete(client, explore, "model", "om")["values"] == ["Company", "Customer", "Room"]
    assert complete(client, explore, "field", "n", model="Customer")["values"] == [
        "name",
        "company_id",
    ]
    investigate = {"type": "ref/prompt", "name": "investigate_error"}
    assert complete(client, investigate, "message", "a")["values"] == []


GRANTS = st.sets(
    st.sampled_from(
        [
            "*:read",
            "*:list",
            "Company:read",
            "Company:write",
            "Customer:*",
            "Counter:list",
            "Counter:delete",
            "tool:Room_read",
            "monitor:read",
            "session:*",
        ]
    ),
    max_size=4,
)


@settings(max_examples=15, deadline=None, database=None)
@given(grants=GRANTS)
def test_what_is_visible_is_readable_and_what_is_readable_can_be_called(
    server: ProductionMCPServer, grants: set[str]
) -> None:
    with ModernHttp(server.mcp_url or "", badge(*sorted(grants), tenant="t")) as client:
        tools = {each["name"] for each in result(client, "tools/list")["tools"]}
        visible = set(listed(client))
        for name in MODELS:
            uri, usable = f"dataflow://models/{name}", any(t.startswith(f"{name}_") for t in tools)
            assert (
                (uri in visible)
                == usable
                == ("result" in client.request("resources/read", uri=uri))
            )
            row = {"id": 1} if name == "Counter" else {"id": f"p-{name}"}
            ensure(server, name, row)
            record = client.request("resources/read", uri=f"{uri}/{row['id']}")
            assert ("result" in record) == (f"{name}_read" in tools)
            proposed = complete(client, MODEL, "model", name)["values"] if usable else []
            assert (name in proposed) == usable
        health = "result" in client.request("resources/read", uri="server://health")
        assert health == ("server://health" in visible) == bool(grants & {"monitor:read", "*:read"})


def ensure(server: ProductionMCPServer, model: str, row: dict[str, Any]) -> None:
    """Sees to it that the model has this record."""
    with ModernHttp(server.mcp_url or "", badge("*", tenant="t")) as owner:
        found = owner.request("tools/call", name=f"{model}_read", arguments=row)["result"]
        if found.get("isError"):
            data = {"label": "one"} if model == "Counter" else {**row, "name": "one"}
            if model == "Customer":
                data["company_id"] = "none"
            call(owner, f"{model}_create", data=data)


def test_new_models_are_told_of_to_those_who_list_resources_and_prompts(
    server: ProductionMCPServer,
) -> None:
    late = type(f"Late{next(numbers)}", (), {"__annotations__": {"id": str}, "__doc__": "Late."})
    with ModernHttp(server.mcp_url or "", badge("*")) as client:
        wanted = {"resourcesListChanged": True, "promptsListChanged": True}
        with client.listen(**wanted) as told:
            assert next(told)["params"]["notifications"] == wanted
            asyncio.run(server.register_model(late))
            assert {next(told)["method"] for _ in range(2)} == {
                "notifications/resources/list_changed",
                "notifications/prompts/list_changed",
            }
        assert f"dataflow://models/{late.__name__}" in listed(client)
