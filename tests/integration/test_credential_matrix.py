"""Each kind of credential, on each transport, for each thing that a client can do.

What a good credential may not do does not exist for it; any other one is refused at the door.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from dataflow import DataFlow
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_sync
from websockets.typing import Subprotocol

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth import jwks
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.background import BackgroundLoop, run_on
from kailash_mcp_prod.errors import ServerError, UnauthenticatedError
from kailash_mcp_prod.state.credentials import CredentialStore
from tests.e2e.exchanges import BOTH, INITIALIZE, META, request
from tests.identity_provider import ISSUER, IdentityProvider, issued, jwk
from tests.integration.pipes import Pipes
from tests.wire_schema import LEGACY, MODERN

SECRET = "a-secret-of-more-than-thirty-two-bytes"
RESOURCE = "https://mcp.example.com/mcp"
METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
KEY, LISTED, OPAQUE = "key-of-the-sales-agent", "token-of-the-list", "opaque-token-of-the-issuer"
BADGE, REVOKED = "badge-that-is-good", "badge-that-was-revoked"
REVOKED_ID = "id-of-a-revoked-token"
MCP = Subprotocol("mcp")
SECONDS = 20


class Badges:
    """An own provider that takes its badges back."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        if credentials.bearer_token == REVOKED:
            raise UnauthenticatedError("This badge was taken back.")
        if credentials.bearer_token != BADGE:
            return None
        return Principal("badge:7", frozenset({"*"}), method="badge")


def token(*permissions: str, **claims: Any) -> str:
    all_claims = {
        "sub": "agent-7",
        "aud": RESOURCE,
        "iss": ISSUER,
        "exp": time.time() + 600,
        "scope": "mcp",
        "permissions": list(permissions),
        **claims,
    }
    return jwt.encode(all_claims, SECRET, algorithm="HS256")


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@dataclass(frozen=True)
class Site:
    """A running server, and the identity provider that it trusts."""

    server: ProductionMCPServer
    idp: IdentityProvider

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the server's own loop."""
        return asyncio.run(run_on(self.server.mcp_server.loop, work))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("matrix")
    db = DataFlow(
        f"sqlite:///{folder / 'a.db'}",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    for name, options in {"Company": {}, "Quote": {}, "Room": {"multi_tenant": True}}.items():
        fields = {"id": str, "name": str}
        members = {"__annotations__": fields, "__doc__": f"A {name}.", "__dataflow__": options}
        db.model(type(name, (), members))
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in os.environ:
            if name.startswith("MCP_") or name in {"DATABASE_URL", "API_KEYS", "JWT_SECRET"}:
                patch.delenv(name)
        background = BackgroundLoop("identity-provider")
        stack.callback(background.close)
        idp = IdentityProvider(keys=[jwk("RS256", "one")])
        background.run(idp.__aenter__())
        stack.callback(lambda: background.run(idp.__aexit__()))
        about = {"aud": RESOURCE, "iss": ISSUER, "scope": "mcp", "permissions": ["*"]}
        idp.tokens[OPAQUE] = {"sub": "carol", **about}
        server = ProductionMCPServer(
            ServerConfig(
                port=0,
                transport="all",
                rate_limit_per_minute=1_000_000,
                api_keys={KEY: {"agent_id": "sales", "permissions": ["*"]}},
                bearer_tokens={LISTED: {"agent_id": "list", "permissions": ["*"]}},
                jwt_secret=SECRET,
                jwt_issuer=ISSUER,
                jwt_leeway_seconds=0,
                jwks_url=idp.jwks_url,
                introspection_url=idp.introspection_url,
                introspection_client_id="mcp",
                introspection_client_secret=SECRET,
                required_scopes="mcp",
                resource_url=RESOURCE,
                authorization_servers=ISSUER,
            ),
            dataflow=db,
            auth_providers=[Badges()],
        )
        server.start_mcp_server_async()
        stack.callback(server.stop_mcp_server)
        site = Site(server, idp)
        site.run(_revoke(server, REVOKED_ID))
        yield site


async def _revoke(server: ProductionMCPServer, jti: str) -> None:
    store = CredentialStore(await server.state.database())
    await store.prepare()
    await store.revoke_token(jti, None)


@dataclass(frozen=True)
class Answer:
    """What a client got: a refusal at the door with its status, or a JSON-RPC message or body."""

    status: int
    body: Any
    challenge: str | None = None


def over_modern_http(site: Site, headers: dict[str, str], action: Action) -> Answer:
    own = {"accept": BOTH, "mcp-protocol-version": MODERN, "mcp-method": action.method}
    mirrored = action.params.get("uri", action.params.get("name"))
    if mirrored is not None:
        own["mcp-name"] = mirrored
    url = f"{site.server.mcp_url}{action.surface}"
    message = request(1, action.method, **action.params, _meta=META)
    return _answer(httpx.post(url, json=message, headers={**own, **headers}, timeout=SECONDS))


def over_legacy_http(site: Site, headers: dict[str, str], action: Action) -> Answer:
    url = f"{site.server.mcp_url}{action.surface}"
    with httpx.Client(headers={"accept": BOTH, **headers}, timeout=SECONDS) as web:
        opened = web.post(url, json=request(1, "initialize", **INITIALIZE))
        if opened.status_code != 200:
            # Nor without the handshake, and nor with somebody else's session.
            bare = web.post(url, json=request(2, action.method, **action.params))
            assert bare.status_code == opened.status_code
            return _answer(opened)
        session = opened.headers["mcp-session-id"]
        web.headers.update({"mcp-session-id": session, "mcp-protocol-version": LEGACY})
        web.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        answer = _answer(web.post(url, json=request(2, action.method, **action.params)))
        assert web.delete(url).status_code == 204
        return answer


def over_websocket(site: Site, headers: dict[str, str], action: Action) -> Answer:
    url = f"{site.server.ws_url}{action.surface}"
    try:
        with connect_sync(
            url, subprotocols=[MCP], additional_headers=headers, open_timeout=SECONDS
        ) as socket:
            socket.send(json.dumps(request(1, action.method, **action.params, _meta=META)))
            return Answer(200, json.loads(socket.recv(SECONDS)))
    except InvalidStatus as refused:
        response = refused.response
        body = json.loads(response.body or b"null")
        return Answer(response.status_code, body, response.headers.get("www-authenticate"))


def over_rest(site: Site, headers: dict[str, str], action: Action) -> Answer:
    method, path, body = action.rest or ("", "", None)
    url = f"{site.server.rest_url}{path}"
    sent = {"accept": "application/json", **headers}
    return _answer(httpx.request(method, url, json=body, headers=sent, timeout=SECONDS))


def over_stdio(site: Site, headers: dict[str, str], action: Action) -> Answer:
    message = request(1, action.method, **action.params, _meta=META)
    return site.run(_ask_stdio(site.server, headers, message))


async def _ask_stdio(server: ProductionMCPServer, headers: dict[str, str], message: Any) -> Answer:
    """One question to a transport on pipes that was started with the credential."""
    pipes = Pipes(server, headers)
    try:
        await pipes.transport.start()
        return Answer(200, await pipes.ask(message))
    except ServerError as refused:
        return Answer(refused.http_status, {"error": {"data": refused.to_dict("r")}})
    finally:
        await pipes.close()


def _answer(response: httpx.Response) -> Answer:
    body = response.json() if response.content else None
    return Answer(response.status_code, body, response.headers.get("www-authenticate"))


Wire = Callable[[Site, dict[str, str], "Action"], Answer]
WIRES: dict[str, Wire] = {
    "stdio": over_stdio,
    "http of 2026": over_modern_http,
    "http of 2025": over_legacy_http,
    "websocket": over_websocket,
    "rest": over_rest,
}


@dataclass(frozen=True)
class Action:
    """Something to do, over MCP and over REST.

    `reached` says whether an answer shows that the caller has reached `Company`.
    """

    name: str
    method: str
    params: dict[str, Any]
    reached: Callable[[Any], bool]
    rest: tuple[str, str, Any] | None = None
    surface: str = ""

    def applies(self, wire: str) -> bool:
        """Whether the wire has it: REST has tools alone, and stdio no addresses of surfaces."""
        return not (wire == "rest" and self.rest is None) and not (wire == "stdio" and self.surface)


def names_of(answer: Any) -> list[str]:
    return [tool["name"] for tool in answer.get("result", answer)["tools"]]


def result_of(answer: Any) -> Any:
    """The structured result, of MCP or of REST."""
    return answer["result"]["structuredContent"] if "result" in answer else answer


def is_result(answer: Any) -> bool:
    return "error" not in answer and not answer.get("result", {}).get("isError")


SEARCH = {"query": "list companies", "limit": 20}
ACTIONS = [
    Action(
        "list",
        "tools/list",
        {},
        lambda answer: "Company_list" in names_of(answer),
        ("GET", "/tools", None),
    ),
    Action(
        "search",
        "tools/call",
        {"name": "search_tools", "arguments": SEARCH},
        lambda answer: "Company_list" in [each["name"] for each in result_of(answer)["tools"]],
        ("POST", "/tools/search_tools?surface=search", SEARCH),
        surface="/search",
    ),
    Action(
        "call",
        "tools/call",
        {"name": "Company_list", "arguments": {}},
        is_result,
        ("POST", "/tools/Company_list", {}),
    ),
    Action("resource", "resources/read", {"uri": "dataflow://models/Company"}, is_result),
    Action(
        "prompt",
        "prompts/get",
        {"name": "explore_data", "arguments": {"model": "Company"}},
        is_result,
    ),
    Action(
        "metrics",
        "tools/call",
        {"name": "get_server_metrics", "arguments": {}},
        is_result,
        ("GET", "/metrics", None),
    ),
]

REFUSED, HIDDEN, ALLOWED = "refused", "hidden", "allowed"
CREDENTIALS: dict[str, tuple[Callable[[], dict[str, str]], str]] = {
    "no": (dict, REFUSED),
    "wrong key": (lambda: {"x-api-key": "wrong"}, REFUSED),
    "wrong token": (lambda: bearer("wrong"), REFUSED),
    "wrong signature": (lambda: bearer(token("*")[:-4] + "AAAA"), REFUSED),
    "another service's": (lambda: bearer(token("*", aud="https://other.example.com")), REFUSED),
    "expired": (lambda: bearer(token("*", exp=time.time() - 60)), REFUSED),
    "revoked": (lambda: bearer(token("*", jti=REVOKED_ID)), REFUSED),
    "revoked badge": (lambda: bearer(REVOKED), REFUSED),
    "insufficient": (lambda: bearer(token("Quote:read")), HIDDEN),
    "right": (lambda: bearer(token("*", jti="id-of-a-good-token")), ALLOWED),
}


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("wire", WIRES)
def test_each_credential_gets_what_it_should_on_each_wire(
    site: Site, wire: str, credential: str
) -> None:
    headers, expected = CREDENTIALS[credential]
    for action in ACTIONS:
        if not action.applies(wire):
            continue
        sent = headers()
        answer = WIRES[wire](site, sent, action)
        if expected == REFUSED:
            check_refusal(answer, wire, sent)
        elif answer.status == 403:
            # That the page exists is known to all.
            assert (expected, action.name, wire) == (HIDDEN, "metrics", "rest")
            assert answer.body["error"]["details"] == {"required_scopes": ["monitor:read"]}
        elif answer.status in {200, 404}:
            reached = answer.status == 200 and action.reached(answer.body)
            assert reached == (expected == ALLOWED), (action.name, answer)
        else:
            # Some errors of MCP have a status of their own over HTTP.
            assert (expected, answer.status) == (HIDDEN, 400), (action.name, answer)


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_each_credential_gets_what_it_should_on_the_dashboard(site: Site, credential: str) -> None:
    headers, expected = CREDENTIALS[credential]
    given = next(iter(headers().values()), "").removeprefix("Bearer ")
    base = f"{site.server.rest_url}/dashboard"
    with httpx.Client(base_url=base, timeout=SECONDS) as browser:
        entered = browser.post(
            "/api/login", json={"credential": given}, headers={"x-dashboard": "1"}
        )
        page, tools = browser.get("/"), browser.get("/api/tools")
        tool, overview = browser.get("/api/tools/Company_list"), browser.get("/api/overview")
    if expected == REFUSED:
        assert entered.status_code == 401
        assert not given or given not in entered.text
        assert page.status_code == 303
        assert [each.status_code for each in (tools, tool, overview)] == [401] * 3
        assert "Company" not in tools.text + tool.text + overview.text
    else:
        assert (entered.status_code, page.status_code, tools.status_code) == (200, 200, 200)
        found = (expected, "Company_list" in tools.text, tool.status_code, overview.status_code)
        assert found in {(ALLOWED, True, 200, 200), (HIDDEN, False, 404, 403)}


def check_refusal(answer: Answer, wire: str, sent: dict[str, str]) -> None:
    assert answer.status == 401
    error = answer.body["error"]
    assert error.get("data", error)["code"] == "unauthenticated"
    if wire != "stdio":
        assert answer.challenge is not None
        assert f'resource_metadata="{METADATA}"' in answer.challenge
        assert 'scope="mcp"' in answer.challenge
        assert ("invalid_token" in answer.challenge) == ("authorization" in sent)
    shown = json.dumps([answer.body, answer.challenge])
    assert not any(value.removeprefix("Bearer ") in shown for value in sent.values())


def test_what_is_hidden_looks_as_if_it_were_not_there(site: Site) -> None:
    headers = bearer(token("Quote:read"))
    for wire, ask in WIRES.items():
        told = []
        for name in ("Company_list", "Compony_list"):
            action = Action(
                "call",
                "tools/call",
                {"name": name, "arguments": {}},
                is_result,
                ("POST", f"/tools/{name}", {}),
            )
            answer = ask(site, headers, action)
            error = answer.body["error"]
            data = error.get("data", error)
            told.append((answer.status, data["code"], data["message"].replace(name, "NAME")))
        assert told[0] == told[1], wire


@pytest.mark.parametrize("wire", WIRES)
def test_every_kind_of_right_credential_comes_in_on_each_wire(site: Site, wire: str) -> None:
    call = next(each for each in ACTIONS if each.name == "call")
    scope = {"scope": "mcp", "permissions": ["Company:read"]}
    for headers in (
        {"x-api-key": KEY},
        bearer(KEY),
        bearer(LISTED),
        bearer(OPAQUE),
        bearer(BADGE),
        bearer(issued(**scope)),
    ):
        answer = WIRES[wire](site, headers, call)
        assert answer.status == 200
        assert call.reached(answer.body)


@pytest.mark.parametrize("wire", WIRES)
def test_a_token_without_the_scope_that_all_need_is_told_which(site: Site, wire: str) -> None:
    for action in ACTIONS:
        if action.applies(wire):
            answer = WIRES[wire](site, bearer(token("*", scope="openid")), action)
            assert answer.status == 403
            error = answer.body["error"]
            data = error.get("data", error)
            assert (data["code"], data["details"]) == ("forbidden", {"required_scopes": ["mcp"]})
            if wire != "stdio":
                assert answer.challenge == (
                    'Bearer error="insufficient_scope", scope="mcp", '
                    f'resource_metadata="{METADATA}"'
                )


def test_a_caller_without_a_tenant_sees_a_tool_that_it_can_not_use(site: Site) -> None:
    action = Action(
        "call",
        "tools/call",
        {"name": "Room_list", "arguments": {}},
        is_result,
        ("POST", "/tools/Room_list", {}),
    )
    rest = over_rest(site, bearer(token("*")), action)
    assert (rest.status, rest.body["error"]["code"]) == (403, "forbidden")
    assert rest.challenge == f'Bearer error="insufficient_scope", resource_metadata="{METADATA}"'
    for wire in (over_stdio, over_modern_http, over_legacy_http, over_websocket):
        answer = wire(site, bearer(token("*")), action)
        assert (answer.status, result_of(answer.body)["error"]["code"]) == (200, "forbidden")
    assert over_rest(site, bearer(token("*", tenant_id="acme")), action).status == 200


@pytest.mark.parametrize("wire", WIRES)
def test_nobody_acts_under_another_name(site: Site, wire: str) -> None:
    def told(claimed: str) -> Any:
        arguments = {"_agent_id": claimed}
        call = Action(
            "call",
            "tools/call",
            {"name": "Company_list", "arguments": arguments},
            is_result,
            ("POST", "/tools/Company_list", arguments),
        )
        return WIRES[wire](site, {"x-api-key": KEY}, call).body

    assert is_result(told("sales"))
    error = result_of(told("boss"))["error"]
    assert (error["code"], error["field"]) == ("forbidden", "_agent_id")


def test_a_name_among_the_arguments_of_a_surface_is_held_against_the_credential(
    site: Site,
) -> None:
    for inner, outer, code in (
        ("sales", "sales", None),
        ("boss", "sales", "forbidden"),
        ("sales", "boss", "forbidden"),
    ):
        body = {"name": "Company_list", "arguments": {"_agent_id": inner}, "_agent_id": outer}
        url = f"{site.server.rest_url}/tools/call_tool?surface=search"
        answer = httpx.post(url, json=body, headers={"x-api-key": KEY}).json()
        assert answer.get("error", {}).get("code") == code


def test_clients_find_out_who_issues_tokens(site: Site) -> None:
    root = (site.server.mcp_url or "").removesuffix("/mcp")
    for path in ("", "/mcp", "/mcp/compact"):
        answer = httpx.get(f"{root}/.well-known/oauth-protected-resource{path}")
        assert answer.status_code == 200
        assert answer.json() == {
            "resource": RESOURCE,
            "authorization_servers": [ISSUER],
            "scopes_supported": ["mcp"],
            "bearer_methods_supported": ["header"],
        }
    assert httpx.get(f"{root}/.well-known/openid-configuration").status_code == 404


async def test_what_is_open_ends_with_its_credential(site: Site) -> None:
    headers = bearer(token("*", exp=int(time.time()) + 3))
    mcp, ws = site.server.mcp_url or "", site.server.ws_url or ""

    async def websocket() -> tuple[int, str]:
        async with connect(ws, subprotocols=[MCP], additional_headers=headers) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), SECONDS)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code, closed.value.rcvd.reason

    async def events(method: str, more: dict[str, str], body: Any = None) -> list[str]:
        async with (
            httpx.AsyncClient(headers={"accept": BOTH, **headers, **more}) as web,
            web.stream(method, mcp, json=body, timeout=SECONDS) as stream,
        ):
            assert stream.status_code == 200
            return [line async for line in stream.aiter_lines()]

    async def stdio() -> tuple[Any, Any]:
        pipes = Pipes(site.server, headers)
        await pipes.transport.start()
        try:
            before = await pipes.ask(request(1, "tools/list", _meta=META))
            await ended.wait()
            return before, await pipes.ask(request(2, "tools/list", _meta=META))
        finally:
            await pipes.close()

    ended = asyncio.Event()
    over_pipes = asyncio.create_task(run_on(site.server.mcp_server.loop, stdio()))
    async with httpx.AsyncClient(headers={"accept": BOTH, **headers}) as web:
        opened = await web.post(mcp, json=request(1, "initialize", **INITIALIZE))
        session = {
            "mcp-session-id": opened.headers["mcp-session-id"],
            "mcp-protocol-version": LEGACY,
        }
        listen = request(
            1, "subscriptions/listen", notifications={"toolsListChanged": True}, _meta=META
        )
        modern = {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}
        closed, *_streams = await asyncio.gather(
            websocket(), events("GET", session), events("POST", modern, listen)
        )

        assert closed == (1008, "The credential has expired.")
        site.server.mcp_server.loop.call_soon_threadsafe(ended.set)
        before, after = await over_pipes
        assert "result" in before
        assert after["error"]["data"]["code"] == "unauthenticated"
        late = await web.post(mcp, json=request(2, "ping"), headers=session)
        assert late.status_code == 401
        # Another token of the same caller goes on with the session.
        renewed = bearer(token("*"))
        going_on = await web.post(mcp, json=request(3, "ping"), headers={**session, **renewed})
        assert going_on.status_code == 200


def test_the_keys_of_the_provider_change_while_the_server_serves(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise an unknown key id has keys fetched once in half a minute.
    monkeypatch.setattr(jwks, "_REPEAT_SECONDS", 0.0)
    claims = {"aud": RESOURCE, "iss": ISSUER, "scope": "mcp", "permissions": ["*"]}
    new = rsa.generate_private_key(65537, 2048)
    tokens = {
        "one": bearer(issued("RS256", kid="one", **claims)),
        "two": bearer(issued("RS256", kid="two", key=new, **claims)),
        # Signed with the old key, in the name of the new one.
        "false": bearer(issued("RS256", kid="two", **claims)),
    }
    old_entry, new_entry = jwk("RS256", "one"), jwk("RS256", "two", new)
    try:
        for keys, good in (
            ([old_entry], {"one"}),
            ([old_entry, new_entry], {"one", "two"}),
            ([new_entry], {"two"}),
        ):
            site.idp.keys = keys
            # Who comes with a key id that is not known has all keys fetched anew.
            over_rest(site, bearer(issued("RS256", kid="unknown", **claims)), ACTIONS[0])
            for name in ("two", "one", "false"):
                for wire, ask in WIRES.items():
                    answer = ask(site, tokens[name], ACTIONS[0])
                    if name in good:
                        assert ACTIONS[0].reached(answer.body), (name, wire)
                    else:
                        check_refusal(answer, wire, tokens[name])
    finally:
        site.idp.keys = [old_entry]
        over_rest(site, tokens["two"], ACTIONS[0])


def test_a_slow_identity_provider_is_no_reason_to_log_in_anew(site: Site) -> None:
    site.idp.status = 500
    try:
        for wire, ask in WIRES.items():
            answer = ask(site, bearer(f"new-token-{wire.replace(' ', '-')}"), ACTIONS[0])
            assert answer.status == 503, wire
            error = answer.body["error"]
            data = error.get("data", error)
            assert (data["code"], data["retryable"]) == ("unavailable", True)
            assert data["retry_after_seconds"] >= 1
            assert answer.challenge is None
    finally:
        site.idp.status = 200


def test_no_log_line_has_a_credential(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # The clients of this test log what they send; they are not what is tested.
    caplog.set_level(logging.INFO, "websockets")
    good, wrong = token("*"), token("*")[:-4] + "AAAA"
    for wire in WIRES.values():
        for headers in (bearer(good), bearer(wrong), bearer(OPAQUE), {"x-api-key": KEY}):
            wire(site, headers, ACTIONS[0])

    lines = [each.getMessage() for each in caplog.records]
    assert lines
    for secret in (good.split(".")[2], wrong.split(".")[1], OPAQUE, KEY, SECRET):
        assert [line for line in lines if secret in line] == []
