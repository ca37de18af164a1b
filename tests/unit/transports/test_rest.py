from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kailash_mcp_prod import errors
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import (
    OverloadedError,
    RateLimitedError,
    ServerError,
    UnauthenticatedError,
)
from kailash_mcp_prod.protocol import Authenticator
from kailash_mcp_prod.tools.spec import ToolCall
from kailash_mcp_prod.transports.rest import create_rest_app
from kailash_mcp_prod.transports.rest_lists import RestHost
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from tests.sample_host import ALICE, BOB, KeyRing, SampleHost
from tests.unit.tools.sample_tools import service_of, tool

BASE = "http://localhost:3002"
KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServerError) and kind is not ServerError
]


class SampleHealth:
    """Reports one status; whoever is known by a credential sees more."""

    def __init__(self, status: str = "healthy") -> None:
        self.status = status

    async def report(self) -> dict[str, Any]:
        database = {"status": self.status, "place": "inside"}
        return {"health_status": self.status, "components": {"database": database}}

    async def brief(self) -> dict[str, Any]:
        words = {"database": {"status": self.status}}
        return {"health_status": self.status, "components": words}

    ready = brief

    def shows_all(self, principal: Principal | None) -> bool:
        return principal is not None and principal.subject == "alice"


def client_of(
    host: RestHost, authenticator: Authenticator | None = None, **options: Any
) -> httpx.AsyncClient:
    health = options.pop("health", SampleHealth())
    app = create_rest_app(host, authenticator or KeyRing(), health, **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE)  # type: ignore[arg-type]


@pytest.fixture
def host() -> SampleHost:
    return SampleHost()


@pytest.fixture
async def web(host: SampleHost) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(host) as web:
        yield web


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a response, which must have the one envelope that all errors have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error["code"] == code
    assert {"code", "message", "retryable", "request_id"} <= error.keys()
    assert error["request_id"] == response.headers["x-request-id"]
    return error


async def test_tools_are_listed_as_mcp_lists_them(web: httpx.AsyncClient, host: SampleHost) -> None:
    response = await web.get("/tools")

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"tools": json.loads(host.encoded_list(ALICE).body)}


async def test_the_address_chooses_a_surface(web: httpx.AsyncClient) -> None:
    small = await web.get("/tools", params={"surface": "small"})

    assert [each["name"] for each in small.json()["tools"]] == ["echo"]
    assert (await web.get("/tools/echo", params={"surface": "small"})).status_code == 200
    error_of(await web.get("/tools/add", params={"surface": "small"}), 404, "not_found")


async def test_calls_and_lists_are_of_the_surface_in_the_address() -> None:
    async with client_of(service_of(tool("a"))) as web:
        call = {"name": "a", "arguments": {"n": 1}}
        through = await web.post("/tools/call_tool?surface=search", json=call)

        assert through.json() == {"n": 1}
        error_of(await web.post("/tools/call_tool", json=call), 404, "not_found")
        error_of(await web.post("/tools/a?surface=search", json={}), 404, "not_found")
        for answer in (await web.get("/tools?surface=x"), await web.post("/tools/a?surface=x")):
            assert "full, compact, search" in error_of(answer, 404, "not_found")["message"]


async def test_a_list_that_the_client_has_is_not_sent_again(web: httpx.AsyncClient) -> None:
    first = await web.get("/tools")
    tag = first.headers["etag"]

    for held in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = await web.get("/tools", headers={"if-none-match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    for held in ('"other"', "", tag[:-2]):
        assert (await web.get("/tools", headers={"if-none-match": held})).status_code == 200
    assert first.headers["cache-control"] == "private, no-cache"


async def test_lists_of_different_callers_have_different_tags(web: httpx.AsyncClient) -> None:
    bob = await web.get("/tools", headers={"x-api-key": "bob-key"})

    assert bob.headers["etag"] != (await web.get("/tools")).headers["etag"]
    assert {"Authorization", "X-API-Key"} <= set(bob.headers["vary"].split(", "))


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("GZIP", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=odd", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
    ],
)
async def test_a_list_is_compressed_where_that_is_accepted(
    web: httpx.AsyncClient, accepted: str, compressed: bool
) -> None:
    plain = await web.get("/tools", headers={"accept-encoding": "identity"})
    answer = await web.get("/tools", headers={"accept-encoding": accepted})

    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert answer.json() == plain.json()
    assert "Accept-Encoding" in answer.headers["vary"]


async def test_only_what_a_caller_may_call_is_listed_and_described(web: httpx.AsyncClient) -> None:
    bob = {"x-api-key": "bob-key"}

    assert [each["name"] for each in (await web.get("/tools", headers=bob)).json()["tools"]] == [
        "echo"
    ]
    assert (await web.get("/tools/echo", headers=bob)).json()["name"] == "echo"
    error_of(await web.get("/tools/add", headers=bob), 404, "not_found")


async def test_a_call_gives_the_result_itself(web: httpx.AsyncClient, host: SampleHost) -> None:
    response = await web.post("/tools/add", json={"a": 1, "b": 2}, headers={"x-api-key": "bob-key"})

    assert response.status_code == 200
    assert response.json() == {"sum": 3}
    assert host.calls == [(BOB, "add", {"a": 1, "b": 2}, response.headers["x-request-id"])]


async def test_a_call_without_a_body_has_no_arguments(web: httpx.AsyncClient) -> None:
    assert (await web.post("/tools/echo")).json() == {}


async def test_every_request_has_an_id_of_its_own(web: httpx.AsyncClient) -> None:
    ids = {(await web.get("/tools")).headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3


async def test_the_client_does_not_choose_the_request_id(web: httpx.AsyncClient) -> None:
    response = await web.get("/tools", headers={"x-request-id": "chosen"})

    assert response.headers.get_list("x-request-id") != ["chosen"]
    assert len(response.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_each_error_has_its_status_and_the_envelope(kind: type[ServerError]) -> None:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        raise kind("Words.", field="data.name", details={"known": ["a"]})

    async with client_of(service_of(tool("broken", handler))) as web:
        error = error_of(await web.post("/tools/broken"), kind.http_status, kind.code)

    assert error["message"] == "Words."
    assert error["field"] == "data.name"
    assert error["details"] == {"known": ["a"]}
    assert error["retryable"] is kind.retryable


@pytest.mark.parametrize(("seconds", "header"), [(0, "1"), (0.2, "1"), (1.4, "2"), (37, "37")])
async def test_a_retry_is_never_announced_too_early(seconds: float, header: str) -> None:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        raise RateLimitedError("Wait.", retry_after_seconds=seconds)

    async with client_of(service_of(tool("busy", handler))) as web:
        response = await web.post("/tools/busy")

    assert error_of(response, 429, "rate_limited")["retry_after_seconds"] == seconds
    assert response.headers["retry-after"] == header


async def test_an_overloaded_server_says_when_to_come_back() -> None:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        raise OverloadedError("Busy.", retry_after_seconds=1)

    async with client_of(service_of(tool("busy", handler))) as web:
        assert (await web.post("/tools/busy")).headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/tools", "/tools/echo"])
async def test_a_missing_or_wrong_credential_is_told_how_to_do_better(path: str) -> None:
    async with client_of(SampleHost(), KeyRing(anonymous=False)) as web:
        for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
            response = await web.get(path, headers=headers)
            error_of(response, 401, "unauthenticated")
            assert response.headers["www-authenticate"] == "Bearer"


async def test_the_body_of_a_stranger_is_not_read() -> None:
    async with client_of(SampleHost(), KeyRing(anonymous=False)) as web:
        error_of(await web.post("/tools/echo", content=b"{broken"), 401, "unauthenticated")


@pytest.mark.parametrize("headers", [{"x-api-key": "bob-key"}, {"authorization": "Bearer bob-key"}])
async def test_credentials_come_in_either_header(
    web: httpx.AsyncClient, host: SampleHost, headers: dict[str, str]
) -> None:
    await web.post("/tools/echo", headers=headers)

    assert host.calls[0][0] == BOB


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"a"',
        b"1",
        b" ",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 01}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe{}",
        b'{"a": 1} {}',
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"a=1&b=2",
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    web: httpx.AsyncClient, host: SampleHost, body: bytes
) -> None:
    response = await web.post(
        "/tools/echo", content=body, headers={"content-type": "application/json"}
    )

    error_of(response, 400, "invalid_arguments")
    assert host.calls == []


async def test_whole_numbers_of_any_size_reach_the_tool_unchanged(web: httpx.AsyncClient) -> None:
    body = {"a": 2**64, "b": -(2**63) - 1, "c": 10**400}

    assert (await web.post("/tools/echo", json=body)).json() == body


async def test_a_number_with_absurdly_many_digits_is_refused(web: httpx.AsyncClient) -> None:
    response = await web.post(
        "/tools/echo",
        content=b'{"a": ' + b"9" * 5_000 + b"}",
        headers={"content-type": "application/json"},
    )

    error_of(response, 400, "invalid_arguments")


@pytest.mark.parametrize("name", ["host", "origin", "authorization", "x-api-key", "content-type"])
async def test_a_header_that_decides_something_must_not_be_repeated(
    web: httpx.AsyncClient, name: str
) -> None:
    value = {"host": "localhost", "origin": "http://localhost"}.get(name, "application/json")
    headers = [(name, value), (name, value)]

    error_of(await web.get("/tools", headers=headers), 400, "invalid_arguments")


async def test_nesting_within_the_limit_is_taken(web: httpx.AsyncClient) -> None:
    body = {"a": json.loads("[" * 60 + "]" * 60)}

    assert (await web.post("/tools/echo", json=body)).json() == body


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", ""],
)
async def test_a_body_of_another_type_is_refused(web: httpx.AsyncClient, content_type: str) -> None:
    response = await web.post(
        "/tools/echo", content=b"{}", headers={"content-type": content_type} if content_type else {}
    )

    error_of(response, 415, "invalid_arguments")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_be_called_by_its_full_name(
    web: httpx.AsyncClient, content_type: str
) -> None:
    response = await web.post(
        "/tools/echo", content='{"a": "ö"}'.encode(), headers={"content-type": content_type}
    )

    assert response.json() == {"a": "ö"}


async def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"a": "'
        for _ in range(100):
            yield b"x" * 100

    headers = {"content-type": "application/json"}
    async with client_of(SampleHost(), max_body_bytes=1000) as web:
        for content in (b"x" * 1001, chunks()):
            response = await web.post("/tools/echo", content=content, headers=headers)
            assert "1000 bytes" in error_of(response, 413, "invalid_arguments")["message"]

        largest = b'{"a": "' + b"x" * 991 + b'"}'
        assert (await web.post("/tools/echo", content=largest, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/tools", "/docs", "/openapi.json", "/health", "/nowhere"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:3002", "10.0.0.1", ""])
async def test_another_host_name_is_refused_everywhere(
    web: httpx.AsyncClient, path: str, host: str
) -> None:
    error_of(await web.get(path, headers={"host": host}), 421, "forbidden")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
async def test_a_foreign_page_is_refused(web: httpx.AsyncClient, origin: str) -> None:
    error_of(await web.get("/tools", headers={"origin": origin}), 403, "forbidden")


async def test_own_names_and_pages_are_allowed() -> None:
    allowed = {"allowed_hosts": {"api.example"}, "allowed_origins": {"https://app.example"}}
    async with client_of(SampleHost(), **allowed) as web:
        headers = {"host": "api.example:3002", "origin": "https://app.example"}
        assert (await web.get("/tools", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/tools/echo/more", "/tools/a%2Fb", "/tools/.."])
async def test_an_unknown_path_is_answered_in_the_envelope(
    web: httpx.AsyncClient, path: str
) -> None:
    error_of(await web.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/tools", "GET, HEAD"),
        ("POST", "/tools", "GET, HEAD"),
        ("PUT", "/tools/echo", "GET, HEAD, POST"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_answered_in_the_envelope(
    web: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await web.request(method, path)

    error_of(response, 405, "invalid_arguments")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_tool_is_not_found(web: httpx.AsyncClient, method: str) -> None:
    response = await web.request(method, "/tools/nothing")

    assert "nothing" in error_of(response, 404, "not_found")["message"]


@pytest.mark.parametrize(
    "name", ["%00", "%F0%9F%92%A9", "x" * 5000, "%22%3Cscript%3E", "%0d%0aX: y"]
)
async def test_an_odd_name_is_only_a_name(web: httpx.AsyncClient, name: str) -> None:
    error_of(await web.post(f"/tools/{name}"), 404, "not_found")


@pytest.mark.parametrize("path", ["/tools", "/tools/echo", "/health", "/docs", "/openapi.json"])
async def test_head_is_get_without_the_body(web: httpx.AsyncClient, path: str) -> None:
    full, head = await web.get(path), await web.head(path)

    assert head.status_code == full.status_code == 200
    assert head.headers["content-length"] == full.headers["content-length"]
    assert head.content == b""


async def test_the_documentation_is_there(web: httpx.AsyncClient) -> None:
    page = await web.get("/docs")
    schema = (await web.get("/openapi.json")).json()

    assert page.headers["content-type"].startswith("text/html")
    assert set(schema["paths"]) == {
        *("/tools", "/tools/{name}", "/health", "/health/live", "/health/ready")
    }
    assert set(schema["paths"]["/tools/{name}"]) == {"get", "post"}
    assert "requestBody" in schema["paths"]["/tools/{name}"]["post"]


@pytest.mark.parametrize(
    ("status", "code"), [("healthy", 200), ("degraded", 200), ("unhealthy", 503), ("draining", 503)]
)
async def test_health_needs_no_credential_and_decides_the_status(status: str, code: int) -> None:
    health = SampleHealth(status)
    async with client_of(SampleHost(), KeyRing(anonymous=False), health=health) as web:
        full, ready = await web.get("/health"), await web.get("/health/ready")
        live = await web.get("/health/live")

    words = {"health_status": status, "components": {"database": {"status": status}}}
    assert (full.status_code, full.json()) == (ready.status_code, ready.json()) == (code, words)
    assert full.headers["cache-control"] == "no-store"
    assert (live.status_code, live.json()) == (200, {"health_status": "healthy"})


@pytest.mark.parametrize(("key", "code"), [("alice-key", 200), ("bob-key", 200), ("none", 401)])
async def test_only_who_may_sees_more_of_the_health_than_words(key: str, code: int) -> None:
    async with client_of(SampleHost(), KeyRing(anonymous=False)) as web:
        response = await web.get("/health", headers={"x-api-key": key})

    assert response.status_code == code
    assert ("inside" in response.text) == (key == "alice-key")


async def test_health_is_told_while_credentials_can_not_be_checked() -> None:
    class Down:
        async def authenticate(self, _credentials: Credentials) -> Principal:
            raise errors.UnavailableError("No answer.")

    health = SampleHealth("unhealthy")
    async with client_of(SampleHost(), Down(), health=health) as web:
        response = await web.get("/health", headers={"x-api-key": "alice-key"})

    assert (response.status_code, response.json()) == (503, await health.brief())


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/health/live", {}, 200),
        ("/health/ready", {}, 200),
        ("/health", {}, 421),
        ("/health/live", {"origin": "http://localhost:3002"}, 421),
        ("/health/ready", {"origin": "https://evil.example"}, 421),
    ],
)
async def test_orchestrators_ask_by_address_and_pages_may_not(
    web: httpx.AsyncClient, path: str, headers: dict[str, str], code: int
) -> None:
    response = await web.get(path, headers={"host": "10.1.2.3:3002", **headers})

    assert response.status_code == code


async def test_a_defect_behind_is_answered_without_its_words(web: httpx.AsyncClient) -> None:
    response = await web.post("/tools/crash")

    error_of(response, 500, "internal")
    assert "secret of the driver" not in response.text


async def test_a_defect_of_an_authenticator_is_answered_in_the_envelope() -> None:
    class Broken:
        async def authenticate(self, _credentials: Credentials) -> Principal:
            raise LookupError("password=hunter2")

    async with client_of(SampleHost(), Broken()) as web:
        response = await web.get("/tools")

    error_of(response, 500, "internal")
    assert "hunter2" not in response.text


async def test_an_expired_credential_is_refused() -> None:
    class Expired:
        async def authenticate(self, _credentials: Credentials) -> Principal:
            raise UnauthenticatedError("The token has expired.")

    async with client_of(SampleHost(), Expired()) as web:
        assert "expired" in error_of(await web.get("/tools"), 401, "unauthenticated")["message"]


async def test_a_client_that_leaves_while_it_sends_calls_nothing(host: SampleHost) -> None:
    app = create_rest_app(host, KeyRing(), SampleHealth())
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": b'{"a": ', "more_body": True})
    incoming.put_nowait({"type": "http.disconnect"})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/tools/echo",
        "raw_path": b"/tools/echo",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    async with asyncio.timeout(5):
        await app(scope, incoming.get, send)

    assert host.calls == []


async def test_too_many_unfinished_bodies_are_told_to_come_back() -> None:
    release = asyncio.Event()

    async def unfinished() -> AsyncIterator[bytes]:
        yield b'{"a": "' + b"x" * 991 + b'"}'
        await release.wait()

    async with client_of(SampleHost(), max_body_bytes=1000) as web:

        def upload() -> asyncio.Task[httpx.Response]:
            headers = {"content-type": "application/json"}
            return asyncio.create_task(
                web.post("/tools/echo", content=unfinished(), headers=headers)
            )

        uploads = [upload() for _ in range(4)]
        refused = await upload()
        release.set()

        error_of(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert {(await each).status_code for each in uploads} == {200}


async def test_what_is_no_call_is_counted_as_one(host: SampleHost, web: httpx.AsyncClient) -> None:
    host.may_charge = 1
    headers = {"x-api-key": "alice-key"}
    first, second = [await web.post("/tools/echo", content=b"[", headers=headers) for _ in "12"]

    error_of(first, 415, "invalid_arguments")
    error_of(second, 429, "rate_limited")


async def test_stopping_answers_for_a_call_that_does_not_let_go(
    host: SampleHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kailash_mcp_prod.transports.rest._STOP_SECONDS", 0.05)
    app = create_rest_app(host, KeyRing(), SampleHealth())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE) as web:  # type: ignore[arg-type]
        calling = asyncio.create_task(web.post("/tools/stubborn", json={}))
        await host.slow_started.wait()
        await app.stop()
        host.stubborn.set()
        answer = error_of(await calling, 503, "unavailable")

    assert answer["details"] == {"outcome": "unknown"}


async def test_large_answers_that_wait_to_be_read_are_bounded(host: SampleHost) -> None:
    budget = UnreadBudget(400_000)
    headers = {"x-api-key": "alice-key"}
    async with client_of(host, unread=budget) as web:
        body = {"a": "x" * 80_000}
        with budget.hold("alice", 30_000):
            refused = await web.post("/tools/echo", json=body, headers=headers)
        answered = await web.post("/tools/echo", json=body, headers=headers)

    error_of(refused, 503, "overloaded")
    assert answered.json() == body
    assert budget.has_room("alice", 400_000)
