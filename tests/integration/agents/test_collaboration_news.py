"""Members hear of changes, in both eras and from every replica; nobody else does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kailash_mcp_prod import ProductionMCPServer
from kailash_mcp_prod.auth.principal import Principal
from tests.e2e.exchanges import LegacyHttp, ModernHttp
from tests.integration.agents.deployments import Deployment, agent, name_of

UPDATED = "notifications/resources/updated"
ERAS = {"legacy": LegacyHttp, "modern": ModernHttp}


def now(doing: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call, in a test whose clients wait for theirs."""
    return asyncio.run(doing)


def bearer(who: Principal) -> dict[str, str]:
    return {"authorization": f"Bearer {who.subject}@{who.tenant or ''}"}


@contextmanager
def watching(
    era: str, server: ProductionMCPServer, who: Principal, *uris: str
) -> Iterator[Iterator[str]]:
    """The URIs of which an agent hears that watches some."""
    url = server.mcp_url or ""
    if era == "modern":
        with (
            ModernHttp(url, bearer(who)) as client,
            client.listen(resourceSubscriptions=list(uris)) as told,
        ):
            assert next(told)["params"]["notifications"] == {"resourceSubscriptions": list(uris)}
            yield (each["params"]["uri"] for each in told if each.get("method") == UPDATED)
    else:
        with LegacyHttp(url, bearer(who)) as client:
            for uri in uris:
                assert "result" in client.request("resources/subscribe", uri=uri)
            with client.events() as told:
                yield (each["params"]["uri"] for each in told if each.get("method") == UPDATED)


@pytest.mark.parametrize("era", ERAS)
def test_a_change_on_any_replica_reaches_a_member_on_any_other(
    deployment: Deployment, era: str
) -> None:
    owner, member = agent(), agent()
    workspace_id = now(deployment.workspace(owner, member=member))
    uri = f"collaboration://{workspace_id}"
    hears, *_, writes = [*deployment.replicas, deployment.replicas[0]][:2]
    with watching(era, hears, member, uri) as told:
        for number in range(3):
            arguments = {"workspace_id": workspace_id, "key": "k", "value": number}
            now(writes.mcp_server.call_tool("write_blackboard", arguments, principal=owner))
            assert next(told) == uri


@pytest.mark.parametrize("era", ERAS)
def test_who_has_left_hears_no_more(deployment: Deployment, era: str) -> None:
    owner, guest = agent(), agent()
    left, kept = (now(deployment.workspace(owner, member=guest)) for _ in range(2))
    uris = [f"collaboration://{left}", f"collaboration://{kept}"]

    def write(workspace_id: str) -> None:
        now(deployment.call(owner, "write_blackboard", workspace_id=workspace_id, key="k", value=1))

    with watching(era, deployment.replicas[0], guest, *uris) as told:
        write(left)
        assert next(told) == uris[0]
        now(
            deployment.call(
                owner, "leave_collaboration", workspace_id=left, agent_id=name_of(guest)
            )
        )
        # What was told before it left may still arrive, and that there are workspaces at all.
        for _ in range(2):
            write(kept)
            assert any(each == uris[1] for each in told)
        for _ in range(3):
            write(left)
            write(kept)
            assert next(told) == uris[1]


def test_who_takes_no_part_can_neither_read_nor_watch_a_workspace(deployment: Deployment) -> None:
    owner, invited, other = agent(), agent(), agent()
    made = now(
        deployment.call(
            owner, "enable_agent_collaboration", agents=[{"agent_id": name_of(invited)}]
        )
    )
    foreign = f"collaboration://{made['workspace_id']}"
    unknown = f"collaboration://ws_{'x' * 32}"
    for server in deployment.replicas:
        for who in (invited, other):
            url = server.mcp_url or ""
            with LegacyHttp(url, bearer(who)) as legacy, ModernHttp(url, bearer(who)) as modern:
                for client, method in (
                    (legacy, "resources/read"),
                    (legacy, "resources/subscribe"),
                    (modern, "resources/read"),
                ):
                    said = []
                    for uri in (foreign, unknown, "collaboration://", "collaboration://%00/x"):
                        error = client.request(method, uri=uri)["error"]
                        error["data"].pop("request_id")
                        said.append(json.dumps(error).replace(json.dumps(uri)[1:-1], "<uri>"))
                    assert set(said) == {said[0]}
                with modern.listen(resourceSubscriptions=[foreign, unknown]) as told:
                    assert next(told)["params"]["notifications"] == {}


def test_a_workspace_is_read_as_the_tool_reads_it(deployment: Deployment) -> None:
    owner = agent()
    workspace_id = now(deployment.workspace(owner))
    found = now(deployment.call(owner, "list_collaborations", workspace_id=workspace_id))
    for client_of in ERAS.values():
        with client_of(deployment.replicas[0].mcp_url or "", bearer(owner)) as client:
            answer = client.request("resources/read", uri=f"collaboration://{workspace_id}")
            [content] = answer["result"]["contents"]
            assert json.loads(content["text"]) == found
            templates = client.request("resources/templates/list")["result"]["resourceTemplates"]
            assert "collaboration://{workspace_id}" in [each["uriTemplate"] for each in templates]
