"""The dashboard of a Nexus app: for its own users, and with a page for the integration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from kailash_mcp_prod import ServerConfig, enhance_nexus_with_mcp
from tests.nexus_apps import PREFIX, bearer, closing, make_app, token

DASHBOARD = f"{PREFIX}/dashboard"
OWN_PAGE = {"X-Dashboard": "1"}
WATCHER = ("watcher", "monitor:read")
ALICE = ("alice", "nexus:greet", "workflow:*")
GREET = {"name": "greet", "inputs": {"name": "Ada"}}


def browser(app: Any) -> TestClient:
    return TestClient(
        app.fastapi_app,
        base_url="http://127.0.0.1",
        client=("127.0.0.1", 1),
        follow_redirects=False,
        raise_server_exceptions=False,
    )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    config = ServerConfig(auth_type=("custom",), database_url=f"sqlite:///{folder}/state.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with closing(make_app(auth=True, enable_durability=True)) as app:
            enhance_nexus_with_mcp(app, config=config)
            with browser(app) as made:
                yield made


def log_in(client: TestClient, *who: str) -> dict[str, str]:
    """The cookie of a user, who shares the client with others."""
    body = {"credential": token(*who)}
    answer = client.post(f"{DASHBOARD}/api/login", json=body, headers=OWN_PAGE)
    client.cookies.clear()
    assert answer.status_code == 200, answer.text
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def run(client: TestClient, workflow: str, who: dict[str, str], **inputs: Any) -> dict[str, Any]:
    arguments = {"name": workflow, "inputs": inputs}
    body = {"tool_name": "execute_nexus_workflow", "arguments": arguments}
    found: dict[str, Any] = client.post(f"{PREFIX}/execute-tool", json=body, headers=who).json()
    return found


def test_nothing_is_shown_to_who_is_not_logged_in(client: TestClient) -> None:
    for headers in ({}, bearer(*WATCHER), {"Cookie": "kailash_dashboard=x"}):
        page = client.get(f"{DASHBOARD}/nexus", headers=headers)
        assert (page.status_code, page.headers["location"]) == (303, f"{DASHBOARD}/login#/nexus")
        answer = client.get(f"{DASHBOARD}/api/integrations/nexus", headers=headers)
        assert answer.status_code == 401
        assert "x-frame-options" in answer.headers
    assert client.get(f"{DASHBOARD}/login").status_code == 200
    assert client.get(f"{DASHBOARD}/static/pages/nexus.js").status_code == 200
    wrong = client.post(f"{DASHBOARD}/api/login", json={"credential": "nonsense"}, headers=OWN_PAGE)
    assert wrong.status_code == 401
    assert "Max-Age=0" in wrong.headers["set-cookie"]


def test_users_of_the_app_log_in_with_their_tokens(client: TestClient) -> None:
    shown = token(*WATCHER)
    answer = client.post(f"{DASHBOARD}/api/login", json={"credential": shown}, headers=OWN_PAGE)

    assert answer.json() == {"subject": "nexus:watcher"}
    assert f"Path={DASHBOARD};" in answer.headers["set-cookie"]
    pulse = client.get(f"{DASHBOARD}/api/pulse").json()
    assert (pulse["subject"], pulse["asks"]) == ("nexus:watcher", True)
    assert pulse["integrations"] == ["nexus"]
    page = client.get(f"{DASHBOARD}/nexus")
    assert page.status_code == 200
    assert "<title>Nexus" in page.text
    assert f'data-root="{DASHBOARD}"' in page.text
    client.cookies.clear()


def test_the_page_shows_workflows_runs_and_circuits(client: TestClient) -> None:
    for _ in range(6):
        run(client, "fail", bearer("frank", "nexus:*"), how="OSError")
    run(client, "greet", bearer(*ALICE), name="Ada")
    watcher = log_in(client, *WATCHER)
    seen = client.get(f"{DASHBOARD}/api/integrations/nexus", headers=watcher).json()

    assert (seen["prefix"], seen["count"], seen["own_mcp_port"]) == (PREFIX, 3, None)
    assert (seen["status"], seen["circuits"]["open"]) == ("degraded", 1)
    by_name = {each["name"]: each for each in seen["workflows"]}
    assert set(by_name) == {"greet", "add", "fail"}
    assert by_name["fail"]["errors"] == 5
    assert by_name["fail"]["circuit"]["state"] == "open"
    assert by_name["greet"]["calls"] >= 1
    assert by_name["greet"]["circuit"]["state"] == "closed"
    assert by_name["greet"]["description"] == "Greets somebody."


def test_each_user_sees_its_own_with_the_same_requests(client: TestClient) -> None:
    users = [log_in(client, *who) for who in (ALICE, WATCHER)]
    trial = {"arguments": GREET, "confirmed": True}
    tools, codes, ran = [], [], []
    for user in users:
        listed = client.get(f"{DASHBOARD}/api/tools", headers=user).json()["tools"]
        tools.append({each["name"] for each in listed})
        page = client.get(f"{DASHBOARD}/api/integrations/nexus", headers=user)
        codes.append(page.status_code)
        url = f"{DASHBOARD}/api/tools/execute_nexus_workflow"
        ran.append(client.post(url, json=trial, headers={**OWN_PAGE, **user}).json())

    assert "execute_nexus_workflow" in tools[0] - tools[1]
    assert codes == [403, 200]
    assert ran[0]["result"]["results"] == {"handler": {"message": "Hello, Ada!"}}
    assert ran[1]["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({**OWN_PAGE, "Origin": "http://evil.example"}, 403),
        ({**OWN_PAGE, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_others_change_nothing(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    who = log_in(client, *WATCHER)
    url = f"{DASHBOARD}/api/sessions/x/end"
    answer = client.post(url, json={}, headers={**who, **headers})

    assert answer.status_code == status


def test_a_log_in_ends_with_its_token(client: TestClient) -> None:
    short = token(*WATCHER, seconds=-5)
    answer = client.post(f"{DASHBOARD}/api/login", json={"credential": short}, headers=OWN_PAGE)

    assert answer.status_code == 401


def test_status_says_where_it_is(client: TestClient) -> None:
    status = client.get(f"{PREFIX}/status", headers=bearer(*ALICE)).json()

    assert status["endpoints"]["dashboard"] == DASHBOARD


def test_an_app_that_asks_nobody_shows_it_to_its_own_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(server_type="basic")) as app:
        enhance_nexus_with_mcp(app)
        with browser(app) as here:
            pulse = here.get(f"{DASHBOARD}/api/pulse").json()
            assert (pulse["asks"], pulse["may"]["monitor"]) == (False, True)
            assert here.get(f"{DASHBOARD}/nexus").status_code == 200
            strange = here.get(f"{DASHBOARD}/login", headers={"Host": "evil.example"})
            assert strange.status_code == 421
            proxied = here.get(f"{DASHBOARD}/api/pulse", headers={"X-Forwarded-For": "1.2.3.4"})
            assert proxied.status_code == 403


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(make_app(server_type="basic")) as app:
        config = ServerConfig(auth_type=("custom",), enable_dashboard=False)
        enhance_nexus_with_mcp(app, config=config)
        with browser(app) as client:
            assert client.get(f"{DASHBOARD}/login").status_code == 404
            assert "dashboard" not in client.get(f"{PREFIX}/status").json()["endpoints"]
