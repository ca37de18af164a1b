"""REST below the prefix: status, tools and workflow sessions, as a pure ASGI application."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.nexus.status import status_of
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.protocol import Authenticator, new_request_id
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.serving import Surroundings
from kailash_mcp_prod.tools.surfaces.names import FULL
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    LARGE,
    ASGIMessage,
    ClientGoneError,
    RawHeaders,
    Receive,
    Scope,
    Send,
    path_below_root,
    respond,
)
from kailash_mcp_prod.transports.body_budget import BodyBudget
from kailash_mcp_prod.transports.http_capacity import Capacity
from kailash_mcp_prod.transports.http_exchange import Refusal, check_address
from kailash_mcp_prod.transports.http_guard import HostGuard
from kailash_mcp_prod.transports.http_headers import (
    IDEMPOTENCY_HEADER,
    Headers,
    accepts_gzip,
    idempotency_key,
)
from kailash_mcp_prod.transports.rest_arguments import read_arguments
from kailash_mcp_prod.transports.stopping import stopped_during
from kailash_mcp_prod.transports.unread_budget import too_much_unread

if TYPE_CHECKING:
    from kailash_mcp_prod.nexus.server import MountedServer

log = get_logger(__name__)

PATHS: Final = ("status", "tools", "execute-tool", "workflows")
"""What is REST below the prefix; everything else there is MCP."""

_STOP_SECONDS: Final = 1.0
_SINGLE: Final = (
    *(b"host", b"origin", b"authorization", b"x-api-key", b"content-type"),
    IDEMPOTENCY_HEADER,
)
_CREATE: Final = "create_agent_workflow_session"
_STEP: Final = "execute_workflow_step"
_STATUS: Final = "get_workflow_session_status"
_CLEANUP: Final = "cleanup_workflow_sessions"
_SESSION: Final = "workflow_session_id"


class _MethodError(InvalidArgumentsError):
    """The path is there, and takes other methods."""

    http_status = 405


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class NexusRest:
    """The REST part of a mounted server.

    Args:
        server: What it is a part of.
        authenticator: Tells who a client is.
        around: What it shares with the other transports.
        config: The settings.
        prefix: The path below which it is.
    """

    def __init__(
        self,
        server: MountedServer,
        authenticator: Authenticator,
        around: Surroundings,
        config: ServerConfig,
        prefix: str,
    ) -> None:
        self._server = server
        self._service = server.service
        self._authenticator = authenticator
        self._guard = HostGuard(around.hosts, around.origins)
        self._challenges = around.challenges
        self._unread = around.unread
        self._bodies = BodyBudget(config.max_body_bytes)
        self._prefix = prefix
        self._running = Capacity(0, 0)
        self._stopping = False

    async def stop(self) -> None:
        """Refuses new requests, waits a second for running ones, and ends the rest with 503."""
        self._stopping = True
        await self._running.end(_STOP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        request = _Request(scope, receive, send)
        with self._running.running(owed=request) as running:
            try:
                answer, principal = await self._answer(request)
                await self._send(request, answer, principal)
            except ClientGoneError:
                return
            except Refusal as refusal:
                error = refusal.error
                assert isinstance(error, ServerError)  # noqa: S101 - no RPC here
                await self._refuse(request, error, refusal.status)
            except ServerError as error:
                await self._refuse(request, error, error.http_status)
            except Exception:
                log.exception("request_broke", request_id=request.id)
                message = "The server could not do this. Report the request id to its operator."
                await self._refuse(request, InternalError(message), 500)
        if running.cancelled:
            await request.give_up()

    async def _answer(self, request: _Request) -> tuple[_Answer, Principal]:
        headers = request.headers
        if self._stopping:
            raise UnavailableError("The server is shutting down.")
        if (repeated := headers.repeats(*_SINGLE)) is not None:
            raise InvalidArgumentsError(f"The header {repeated} is repeated. Send it once.")
        check_address(self._guard, headers)
        steps = path_below_root(request.scope)[len(self._prefix) :].strip("/").split("/")
        method = {"HEAD": "GET"}.get(request.method, request.method)
        principal = await self._authenticator.authenticate(
            Credentials(headers.get(b"authorization"), headers.get(b"x-api-key"))
        )
        match steps:
            case ["status"]:
                request.take(method, "GET")
                report = await status_of(self._server, principal, self._prefix)
                return _Answer(msgspec.json.encode(report)), principal
            case ["tools"]:
                request.take(method, "GET", "surface")
                return self._tools(request, principal), principal
            case ["execute-tool"]:
                request.take(method, "POST")
                name, arguments = _named(await self._body(request, principal))
                return await self._call(request, principal, name, arguments), principal
            case ["workflows", *rest]:
                return await self._workflows(request, principal, method, rest), principal
        raise _nothing_here(self._prefix)

    def _tools(self, request: _Request, principal: Principal) -> _Answer:
        listed = self._service.encoded_list(principal, request.query.get("surface", FULL))
        tag = f'W/"{listed.fingerprint}"'.encode()
        headers = (
            (b"etag", tag),
            (b"cache-control", b"private, no-cache"),
            (b"vary", b"Accept-Encoding, Authorization, X-API-Key"),
        )
        if request.headers.get(b"if-none-match") == tag.decode():
            return _Answer(b"", 304, headers)
        if accepts_gzip(request.headers.get(b"accept-encoding")):
            return _Answer(listed.gzipped, 200, (*headers, (b"content-encoding", b"gzip")))
        return _Answer(listed.document, 200, headers)

    async def _workflows(
        self, request: _Request, principal: Principal, method: str, rest: list[str]
    ) -> _Answer:
        match method, rest:
            case "POST", []:
                request.take(method, "POST")
                arguments = await self._body(request, principal)
                answer = await self._call(request, principal, _CREATE, arguments)
                return _Answer(answer.body, 201)
            case "DELETE", []:
                request.take(method, "DELETE", "idle_minutes")
                return await self._call(request, principal, _CLEANUP, _idle(request.query))
            case "GET", [session]:
                request.take(method, "GET", "include_results")
                arguments = {_SESSION: session, **_flag(request.query, "include_results")}
                return await self._call(request, principal, _STATUS, arguments)
            case "DELETE", [session]:
                request.take(method, "DELETE")
                return await self._call(request, principal, _CLEANUP, {_SESSION: session})
            case "POST", [session, "steps"]:
                request.take(method, "POST")
                arguments = await self._body(request, principal)
                if _SESSION in arguments:
                    raise InvalidArgumentsError(
                        f"{_SESSION}: the path says which session it is; leave this out.",
                        field=_SESSION,
                    )
                arguments = {_SESSION: session, **arguments}
                return await self._call(request, principal, _STEP, arguments)
        allowed = {0: "POST, DELETE", 1: "GET, DELETE"}.get(len(rest))
        if len(rest) == 2 and rest[1] == "steps":
            allowed = "POST"
        if allowed is None:
            raise _nothing_here(self._prefix)
        raise _not_allowed(method, allowed)

    async def _call(
        self, request: _Request, principal: Principal, name: str, arguments: dict[str, Any]
    ) -> _Answer:
        key = idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
        request.may_have_changed = True
        result = await self._service.call(
            principal, name, arguments, request_id=request.id, surface=FULL, idempotency_key=key
        )
        return _Answer(msgspec.json.encode(result))

    async def _body(self, request: _Request, principal: Principal) -> dict[str, Any]:
        headers = request.headers
        return await read_arguments(
            request.receive,
            self._service,
            self._bodies,
            principal,
            content_length=headers.get(b"content-length"),
            content_type=headers.get(b"content-type"),
        )

    async def _send(self, request: _Request, answer: _Answer, principal: Principal) -> None:
        with ExitStack() as held:
            size = len(answer.body)
            if size > LARGE:
                if not self._unread.has_room(principal.subject, size):
                    raise too_much_unread(unknown_outcome=request.may_have_changed)
                held.enter_context(self._unread.hold(principal.subject, size))
            await request.answer(answer.status, [JSON_TYPE, *answer.headers], answer.body)

    async def _refuse(self, request: _Request, error: ServerError, status: int) -> None:
        headers: RawHeaders = []
        if (challenge := self._challenges.of(error)) is not None:
            headers.append((b"www-authenticate", challenge.encode()))
        await request.refuse(error, status, headers)


class _Request:
    """A request and the means to answer it once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = new_request_id()
        self.scope = scope
        self.method: str = scope["method"]
        self.headers = Headers(scope["headers"])
        self.receive = receive
        self.may_have_changed = False
        self.query: dict[str, str] = {}
        self._send = send
        self._answered = False

    def take(self, method: str, allowed: str, *known: str) -> None:
        """Sees whether the request is of this method, and has no other parameters than these.

        Raises:
            InvalidArgumentsError: It is not.
        """
        if method != allowed:
            raise _not_allowed(method, allowed)
        text = self.scope.get("query_string", b"").decode("latin-1")
        self.query = dict(parse_qsl(text, keep_blank_values=True))
        for name in self.query:
            if name not in known:
                raise InvalidArgumentsError(
                    f"{shown(name)}: unknown parameter: remove it or mend its name.",
                    field=shown(name),
                    details={"known_fields": list(known)},
                )

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Sends the answer, unless there is one."""
        if self._answered:
            return
        self._answered = True
        identity = (b"x-request-id", self.id.encode())
        if self.method == "HEAD":
            length = (b"content-length", str(len(body)).encode())
            head: ASGIMessage = {"type": "http.response.start", "status": status}
            await self._send({**head, "headers": [*headers, identity, length]})
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await respond(self._send, status, [*headers, identity], body)

    async def refuse(
        self, error: ServerError, status: int, headers: RawHeaders | None = None
    ) -> None:
        """Answers with an error."""
        own = [JSON_TYPE, *(headers or [])]
        if error.retry_after_seconds is not None:
            seconds = max(1, math.ceil(error.retry_after_seconds))
            own.append((b"retry-after", str(seconds).encode()))
        if status == 405 and error.details:
            own.append((b"allow", str(error.details["allow"]).encode()))
        await self.answer(status, own, msgspec.json.encode({"error": error.to_dict(self.id)}))

    async def give_up(self) -> None:
        """See `Owed.give_up`."""
        error = stopped_during(may_have_changed=self.may_have_changed)
        await self.refuse(error, error.http_status)


def _named(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The tool and the arguments that a body asks for."""
    for key in body:
        if key not in {"tool_name", "name", "arguments"}:
            raise InvalidArgumentsError(
                f"{shown(key)}: unknown argument: remove it or mend its name.",
                field=shown(key),
                details={"known_fields": ["tool_name", "arguments"]},
            )
    if "tool_name" in body and "name" in body:
        raise InvalidArgumentsError("name: leave it out; tool_name says it.", field="name")
    field = "name" if "name" in body else "tool_name"
    name, arguments = body.get(field), body.get("arguments", {})
    if not isinstance(name, str) or not name:
        raise InvalidArgumentsError(f"{field}: name the tool, as text.", field=field)
    if not isinstance(arguments, dict):
        raise InvalidArgumentsError("arguments: use an object.", field="arguments")
    return name, arguments


def _idle(query: Mapping[str, str]) -> dict[str, Any]:
    if "idle_minutes" not in query:
        return {}
    try:
        return {"idle_minutes": float(query["idle_minutes"])}
    except ValueError:
        raise InvalidArgumentsError("idle_minutes: use a number.", field="idle_minutes") from None


def _flag(query: Mapping[str, str], name: str) -> dict[str, Any]:
    if name not in query:
        return {}
    value = {"true": True, "1": True, "false": False, "0": False}.get(query[name].lower())
    if value is None:
        raise InvalidArgumentsError(f"{name}: use true or false.", field=name)
    return {name: value}


def _not_allowed(method: str, allowed: str) -> _MethodError:
    return _MethodError(f"{method} is not allowed here; use {allowed}.", details={"allow": allowed})


def _nothing_here(prefix: str) -> NotFoundError:
    return NotFoundError(f"There is nothing here. {prefix}/status has the addresses.")
