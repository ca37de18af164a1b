"""What the dashboard gives to whom, without a browser."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kailash_mcp_prod import ProductionMCPServer
from tests.integration.observe.dashboards import (
    ADMIN,
    API,
    CLERK,
    HOSTILE,
    NOBODY,
    OWN_PAGE,
    PAGES,
    WATCHER,
    Operator,
    call,
    client,
    served,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionMCPServer]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("MCP_") or name in {"DATABASE_URL", "JWT_SECRET", "API_KEYS"}:
                patch.delenv(name)
        with served(tmp_path_factory.mktemp("dashboard")) as server:
            yield server


def test_nothing_is_given_to_who_is_not_logged_in(server: ProductionMCPServer) -> None:
    with client(server) as nobody:
        for page in (*PAGES, "tools/Company_list", "no-such-page"):
            answer = nobody.get(f"/{page}")
            assert (answer.status_code, answer.text) == (303, ""), page
            wanted = f"#/{page}" if page else ""
            assert answer.headers["location"] == f"/dashboard/login{wanted}"
        for path in API:
            answer = nobody.get(f"/api/{path}")
            assert answer.status_code == 401, path
            assert answer.json()["error"]["code"] == "unauthenticated"
            # The credential of REST is none here: a browser sends it with no page.
            answer = nobody.get(f"/api/{path}", headers={"X-API-Key": ADMIN})
            assert answer.status_code == 401, path
        for path in ("tools/Company_list", "sessions/as_x/end", "explain", "audit/verify"):
            answer = nobody.post(f"/api/{path}", json={}, headers=OWN_PAGE)
            assert answer.status_code == 401, path
        assert nobody.get("/login").status_code == 200


def test_pages_of_what_is_not_there_are_not_there(server: ProductionMCPServer) -> None:
    with client(server, ADMIN) as admin:
        assert admin.get("/api/pulse").json()["integrations"] == []
        assert admin.get("/nexus").status_code == 404
        for name in ("nexus", "nothing"):
            assert admin.get(f"/api/integrations/{name}").status_code == 404


def test_files_say_nothing_and_nothing_else_is_read(server: ProductionMCPServer) -> None:
    with client(server) as nobody:
        shell = nobody.get("/login").text
        named = set(re.findall(r'(?:src|href)="/dashboard/(static/[^"]+)"', shell))
        assert len(named) == 4
        for path in [*named, "static/dashboard.js", "static/pages/tools.js"]:
            answer = nobody.get(f"/{path}")
            assert answer.status_code == 200, path
            tag = {"If-None-Match": answer.headers["etag"]}
            assert nobody.get(f"/{path}", headers=tag).status_code == 304
            # Everything comes from here: it works where there is no network.
            outside = re.findall(r"https?://(?!www\.w3\.org/)[^\s\"'`)]+", answer.text)
            assert outside == []
        for path in ("static/../app.py", "static/%2e%2e/app.py", "static/", "static/nothing.js"):
            assert nobody.get(f"/{path}").status_code in {303, 404}, path


def test_every_answer_keeps_other_pages_out(server: ProductionMCPServer) -> None:
    with client(server, ADMIN) as admin:
        for path in ("/", "/login", "/api/pulse", "/static/dashboard.js", "/api/nothing"):
            headers = admin.get(path).headers
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "require-trusted-types-for 'script'" in policy
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
        assert admin.get("/api/pulse").headers["cache-control"] == "no-store"
        assert admin.get("/api/pulse", headers={"Host": "evil.example"}).status_code == 421


def test_the_cookie_is_for_this_server_alone(server: ProductionMCPServer) -> None:
    with client(server) as browser:
        answer = browser.post("/api/login", json={"credential": ADMIN}, headers=OWN_PAGE)
        cookie = answer.headers["set-cookie"]
        port = httpx.URL(server.rest_url or "").port
        assert cookie.startswith(f"kailash_dashboard_{port}=")
        for part in ("HttpOnly", "SameSite=strict", "Path=/dashboard", "Max-Age=3600"):
            assert part in cookie
        assert "Secure" not in cookie
        assert ADMIN not in answer.text + cookie

        secure = browser.post(
            "/api/login",
            json={"credential": ADMIN},
            headers={**OWN_PAGE, "X-Forwarded-Proto": "https"},
        )
        assert "Secure" in secure.headers["set-cookie"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Dashboard": "1", "Origin": "http://127.0.0.1:1"},
        {"X-Dashboard": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Dashboard": "1", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_no_other_page_changes_anything(
    server: ProductionMCPServer, headers: dict[str, str]
) -> None:
    with client(server, ADMIN) as admin:
        for path in ("login", "logout", "tools/Company_create", "sessions/as_x/end", "explain"):
            answer = admin.post(f"/api/{path}", json={}, headers=headers)
            assert answer.status_code == 403, path
        assert admin.get("/api/pulse").status_code == 200


def test_a_wrong_key_is_refused_in_the_same_words_and_too_many_tries_at_all(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as server, client(server) as browser:
        said = set()
        for number in range(20):
            wrong = f"wrong-key-{number}-0123456789"
            answer = browser.post("/api/login", json={"credential": wrong}, headers=OWN_PAGE)
            assert (answer.status_code, "set-cookie" in answer.headers) == (401, True)
            assert "Max-Age=0" in answer.headers["set-cookie"]
            said.add(answer.json()["error"]["message"])
            assert wrong not in answer.text
        assert len(said) == 1
        answer = browser.post("/api/login", json={"credential": ADMIN}, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"credential": 1}', 400),
        (b'{"credential": "a", "other": 1}', 400),
        (b'{"credential": "two words"}', 400),
        (b'{"credential": "' + b"x" * 20_000 + b'"}', 400),
        (b"[" * 5_000, 400),
    ],
)
def test_a_log_in_that_is_none_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from kailash_mcp_prod.errors import ServerError
    from kailash_mcp_prod.observe.dashboard import app, web

    async def answer(request: Any) -> web.JsonResponse:
        found = await web.read_body(request, app._Credential, 16 * 1024)
        await app.LogIns(None).begin(found.credential)  # type: ignore[arg-type]
        return web.JsonResponse({})

    routes = [app.Route("/", answer, methods=["POST"])]
    tried = Starlette(routes=routes, exception_handlers={ServerError: app._answer_refusal})
    assert TestClient(tried).post("/", content=body).status_code == status


def test_each_sees_what_its_permissions_allow(server: ProductionMCPServer) -> None:
    made = call(server, CLERK, "create_agent_session", agent_info={"name": HOSTILE})
    call(server, ADMIN, "create_agent_session")

    expected = {
        ADMIN: dict.fromkeys(("overview", "sessions", "workflows", "limits", "audit"), 200),
        WATCHER: dict.fromkeys(("overview", "sessions", "workflows", "limits", "audit"), 200),
        CLERK: {"overview": 403, "sessions": 200, "workflows": 200, "limits": 403, "audit": 403},
        NOBODY: dict.fromkeys(("overview", "sessions", "workflows", "limits", "audit"), 403),
    }
    for key, pages in expected.items():
        with client(server, key) as browser:
            found = {page: browser.get(f"/api/{page}").status_code for page in pages}
            assert found == pages, key
    with client(server, CLERK) as clerk:
        shown = clerk.get("/api/sessions").json()
        assert [each["session_id"] for each in shown["sessions"]] == [made["session_id"]]
        assert {each["subject"] for each in shown["agents"]} == {f"key:{HOSTILE}"}
        names = {each["name"] for each in clerk.get("/api/tools").json()["tools"]}
        assert "Company_list" in names
        assert "get_server_metrics" not in names
        assert all("figures" not in each for each in clerk.get("/api/tools").json()["tools"])
        assert clerk.get("/api/explain").json()["agents"] == [f"key:{HOSTILE}"]
    with client(server, NOBODY) as nobody:
        assert nobody.get("/api/tools/Company_list").status_code == 404
    with client(server, WATCHER) as watcher:
        assert len(watcher.get("/api/sessions").json()["sessions"]) >= 2


def test_only_who_may_manage_ends_the_sessions_of_others(server: ProductionMCPServer) -> None:
    theirs = call(server, CLERK, "create_agent_session")["session_id"]
    with client(server, WATCHER) as watcher:
        refused = watcher.post(f"/api/sessions/{theirs}/end", json={}, headers=OWN_PAGE)
        assert refused.status_code == 404
    assert call(server, CLERK, "get_agent_session", session_id=theirs)["session_id"] == theirs

    with client(server, ADMIN) as admin:
        ended = admin.post(f"/api/sessions/{theirs}/end", json={}, headers=OWN_PAGE)
        assert (ended.status_code, ended.json()["ended"]) == (200, True)
        again = admin.post(f"/api/sessions/{theirs}/end", json={}, headers=OWN_PAGE)
        assert again.status_code == 404
        entry = admin.get("/api/audit?tool=end_session_of_agent&outcome=ok").json()["entries"][0]
        assert (entry["who"], entry["ids"]) == ("key:admin", [theirs])
    assert (
        call(server, CLERK, "get_agent_session", session_id=theirs)["error"]["code"] == "not_found"
    )

    own = call(server, CLERK, "create_agent_session")["session_id"]
    with client(server, CLERK) as clerk:
        answer = clerk.post(f"/api/sessions/{own}/end", json={}, headers=OWN_PAGE)
        assert (answer.status_code, answer.json()["ended"]) == (200, True)


def test_a_tool_is_tried_as_who_is_logged_in_and_destruction_is_confirmed(
    server: ProductionMCPServer,
) -> None:
    with client(server, CLERK) as clerk:

        def tried(tool: str, arguments: dict[str, Any], **more: Any) -> httpx.Response:
            body = {"arguments": arguments, **more}
            return clerk.post(f"/api/tools/{tool}", json=body, headers=OWN_PAGE)

        made = tried("Company_create", {"data": {"name": HOSTILE, "size": 3}}).json()["result"]
        assert made["name"] == HOSTILE
        wrong = tried("Company_create", {"data": {"nam": "x"}})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_arguments")
        unsure = tried("Company_delete", {"id": made["id"]})
        assert (unsure.status_code, unsure.json()["error"]["field"]) == (409, "confirmed")
        assert tried("Company_read", {"id": made["id"]}).status_code == 200
        assert tried("Company_delete", {"id": made["id"]}, confirmed=True).status_code == 200
        assert tried("health_check", {}).status_code == 404
        assert tried("Company_read", {"id": "x"}, other=1).status_code == 400
        assert clerk.get("/api/tools?queri=x").status_code == 400
        found = clerk.get("/api/tools", params={"query": "remove a company"}).json()["tools"]
        assert found[0]["name"] == "Company_delete"
        assert found[0]["tokens_listed"] < found[0]["tokens_described"]


def test_only_who_may_do_everything_asks_about_others(server: ProductionMCPServer) -> None:
    question = {"tool": "Company_delete", "agent": "nobody"}
    with client(server, CLERK) as clerk:
        own = clerk.post("/api/explain", json={"tool": "Company_delete"}, headers=OWN_PAGE).json()
        assert (own["allowed"], own["granted"]) == (True, {"Company:delete": "Company:*"})
        for asked in (question, {"tool": "Company_delete", "permissions": ["*"]}):
            refused = clerk.post("/api/explain", json=asked, headers=OWN_PAGE)
            assert (refused.status_code, refused.json()["error"]["field"]) == (403, "agent")
        unseen = clerk.post("/api/explain", json={"tool": "health_check"}, headers=OWN_PAGE).json()
        assert (unseen["allowed"], unseen["exists"]) == (False, False)
    with client(server, ADMIN) as admin:
        found = admin.post("/api/explain", json=question, headers=OWN_PAGE).json()
        assert (found["subject"], found["allowed"]) == ("key:nobody", False)
        assert found["granted"] == {"Company:delete": None}
        supposed = {**question, "permissions": ["Company:write"], "arguments": {"id": 1}}
        found = admin.post("/api/explain", json=supposed, headers=OWN_PAGE).json()
        assert found["granted"] == {"Company:delete": "Company:write"}
        assert not found["allowed"]
        unknown = {**question, "agent": "nobody-at-all"}
        assert admin.post("/api/explain", json=unknown, headers=OWN_PAGE).status_code == 404
        assert admin.post("/api/explain", json={"tol": "x"}, headers=OWN_PAGE).status_code == 400


async def test_a_revoked_key_ends_its_log_in_within_a_second(server: ProductionMCPServer) -> None:
    operator = Operator(server)
    key, key_id = await operator.mint()
    async with httpx.AsyncClient(base_url=f"{server.rest_url}/dashboard") as browser:
        await browser.post("/api/login", json={"credential": key}, headers=OWN_PAGE)
        assert (await browser.get("/api/pulse")).status_code == 200
        await operator.revoke(key_id)
        async with asyncio.timeout(2):
            while (await browser.get("/api/pulse")).status_code != 401:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert (await browser.get("/")).status_code == 303
    await operator.close()


def test_a_log_out_ends_copies_of_the_cookie_too(server: ProductionMCPServer) -> None:
    with client(server, ADMIN, anew=True) as admin, client(server) as thief:
        thief.cookies.update(admin.cookies)
        assert thief.get("/api/pulse").status_code == 200
        answer = admin.post("/api/logout", json={}, headers=OWN_PAGE)
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert admin.get("/api/pulse").status_code == 401
        assert thief.get("/api/pulse").status_code == 401


def test_without_authentication_nobody_is_asked_on_loopback(tmp_path: Path) -> None:
    with served(tmp_path, enable_auth=False, api_keys={}) as server, client(server) as anybody:
        pulse = anybody.get("/api/pulse").json()
        assert (pulse["asks"], pulse["subject"]) == (False, "anonymous")
        assert anybody.get("/").status_code == 200
        assert anybody.get("/login").status_code == 303
        assert {anybody.get(f"/api/{path}").status_code for path in API if "wf" not in path} == {
            200
        }


def test_a_server_without_a_dashboard_serves_none(tmp_path: Path) -> None:
    with served(tmp_path, enable_dashboard=False) as server, client(server) as browser:
        for path in ("/", "/login", "/api/pulse", "/static/dashboard.js"):
            assert browser.get(path).status_code == 404
