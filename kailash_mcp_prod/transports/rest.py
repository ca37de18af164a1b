"""REST beside MCP: the same tools, results and errors, for curl and for programs without MCP."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import (
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.protocol import Authenticator
from kailash_mcp_prod.transports.asgi import (
    LARGE,
    ASGIMessage,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    send_most,
)
from kailash_mcp_prod.transports.body_budget import BodyBudget
from kailash_mcp_prod.transports.http_capacity import Capacity
from kailash_mcp_prod.transports.http_exchange import Refusal, check_address
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, HostGuard
from kailash_mcp_prod.transports.http_headers import (
    IDEMPOTENCY_HEADER,
    Headers,
    idempotency_key,
)
from kailash_mcp_prod.transports.rest_arguments import read_arguments
from kailash_mcp_prod.transports.rest_document import DocumentedApp
from kailash_mcp_prod.transports.rest_health import HealthHost, add_health, needs_no_name
from kailash_mcp_prod.transports.rest_lists import DEFAULT_SURFACE, RestHost, answer_list
from kailash_mcp_prod.transports.rest_metrics import MetricsHost, add_metrics
from kailash_mcp_prod.transports.stopping import stopped_during
from kailash_mcp_prod.transports.unread_budget import UnreadBudget, too_much_unread

log = get_logger(__name__)

_REQUEST_ID = "kailash.request_id"
_ANSWERING = "kailash.answering"
_PRINCIPAL = "kailash.principal"
_STOP_SECONDS = 1.0
_SINGLE = (
    *(b"host", b"origin", b"authorization", b"x-api-key", b"content-type"),
    IDEMPOTENCY_HEADER,
)
_HTTP_ERRORS: dict[int, type[ServerError]] = {404: NotFoundError, 405: InvalidArgumentsError}


class JsonBytes(Response):
    """A response of JSON that is encoded already, or is encoded as MCP's results are."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def create_rest_app(
    host: RestHost,
    authenticator: Authenticator,
    health: HealthHost,
    *,
    allowed_hosts: Collection[str] = LOOPBACK_HOSTS,
    allowed_origins: Collection[str] = LOOPBACK_ORIGINS,
    max_body_bytes: int = 4 * 1024 * 1024,
    challenges: Challenges | None = None,
    asks: bool = True,
    unread: UnreadBudget | None = None,
    metrics: MetricsHost | None = None,
    mounts: Mapping[str, ASGIApp] = MappingProxyType({}),
) -> GuardedApp:
    """The REST application: `/tools`, `/tools/{name}`, `/health`, `/docs`.

    Args:
        host: The tools.
        authenticator: Tells who a client is, from `Authorization` and `X-API-Key`.
        health: What `/health` answers: 200 if `health_status` is `healthy` or `degraded`, else
            503; so do `/health/live` and `/health/ready`.
        allowed_hosts: As for `HttpTransport`.
        allowed_origins: As for `HttpTransport`.
        max_body_bytes: The longest request body.
        challenges: What refusals tell of the credential to get.
        asks: Whether callers need a credential, for the document.
        unread: Counts the answers that wait to be read, here and on other transports.
        metrics: What `/metrics` answers; it is told how long answers to principals are.
        mounts: Further applications by their path, behind the same checks of Host and Origin.
    """
    told = challenges or Challenges()
    app = DocumentedApp(
        title="Kailash MCP",
        version=__version__,
        description="The tools of the MCP server over REST. Same policy, results and errors.",
    )
    app.asks = asks

    bodies = BodyBudget(max_body_bytes)

    async def principal_of(request: Request) -> Principal:
        principal = await authenticator.authenticate(
            Credentials(
                authorization=request.headers.get("authorization"),
                api_key=request.headers.get("x-api-key"),
            )
        )
        request.scope[_PRINCIPAL] = principal
        return principal

    def sent(request: Request, body: bytes | memoryview[int]) -> None:
        principal = request.scope.get(_PRINCIPAL)
        if metrics is not None and principal is not None:
            metrics.sent(principal, bytes(body))

    @app.get("/tools", summary="List the tools that you may call")
    async def list_tools(request: Request, surface: str = DEFAULT_SURFACE) -> Response:
        principal = await principal_of(request)
        listed = host.encoded_list(principal, surface)
        response = answer_list(request, listed)
        if response.body:
            # It may be compressed, which is nothing to who reads it.
            sent(request, listed.document)
        request.scope[_ANSWERING].hold(principal, response, unknown_outcome=False)
        return response

    @app.get("/tools/{name}", response_class=JsonBytes, summary="Describe one tool in full")
    async def describe_tool(
        name: str, request: Request, surface: str = DEFAULT_SURFACE
    ) -> JsonBytes:
        response = JsonBytes(host.describe(await principal_of(request), name, surface))
        sent(request, response.body)
        return response

    @app.post(
        "/tools/{name}",
        response_class=JsonBytes,
        summary="Call a tool with its arguments as the body",
    )
    async def call_tool(name: str, request: Request, surface: str = DEFAULT_SURFACE) -> JsonBytes:
        principal = await principal_of(request)
        # Not FastAPI's own parsing: that takes NaN and has no limits.
        headers = request.headers
        arguments = await read_arguments(
            request.receive,
            host,
            bodies,
            principal,
            content_length=headers.get("content-length"),
            content_type=headers.get("content-type"),
        )
        request_id = request.scope[_REQUEST_ID]
        result = await host.call(
            principal,
            name,
            arguments,
            request_id=request_id,
            surface=surface,
            idempotency_key=idempotency_key(headers.get(IDEMPOTENCY_HEADER.decode())),
        )
        response = JsonBytes(result)
        sent(request, response.body)
        request.scope[_ANSWERING].hold(principal, response, unknown_outcome=True)
        return response

    add_health(app, health, principal_of)

    if metrics is not None:
        add_metrics(app, metrics, principal_of)
    for path, mounted in mounts.items():
        app.mount(path, mounted)

    async def answer_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServerError)  # noqa: S101 - registered for this class
        response = _error_response(error, request.scope[_REQUEST_ID], told.of(error))
        sent(request, response.body)
        return response

    app.add_exception_handler(ServerError, answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_defect)
    return GuardedApp(app, HostGuard(allowed_hosts, allowed_origins), unread or UnreadBudget())


class GuardedApp:
    """Checks Host and Origin before FastAPI sees a request, and gives it a request id.

    Args:
        app: The application behind.
        guard: Knows the names and pages that are allowed.
        unread: Counts the answers that wait to be read.
    """

    def __init__(self, app: FastAPI, guard: HostGuard, unread: UnreadBudget) -> None:
        self.app = app
        self._unread = unread
        self._guard = guard
        # How many calls run is limited where all transports meet; here they are only reached.
        self._requests = Capacity(0, 0)
        self._stopping = False

    async def stop(self) -> None:
        """Refuses new requests, waits a second for running ones, and ends the rest with 503."""
        self._stopping = True
        await self._requests.end(_STOP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope[_REQUEST_ID] = uuid4().hex
        answering = scope[_ANSWERING] = _Answering(scope, receive, send, request_id, self._unread)
        try:
            self._check(scope["path"], Headers(scope["headers"]))
        except Refusal as refusal:
            await answering.refuse(refusal)
            return
        if scope["method"] == "HEAD":
            # The server in front leaves the body out; FastAPI has no routes for HEAD.
            scope = {**scope, "method": "GET"}
        with answering, self._requests.running(owed=answering) as running:
            try:
                await self.app(scope, receive, answering.send)
            except ClientGoneError:
                # It left while it was sending, and gets no answer.
                return
            except Exception:
                # FastAPI has answered by `_answer_defect`, and passes the exception on.
                log.exception("request_broke", path=scope["path"][:256], request_id=request_id)
        if running.cancelled:
            await answering.give_up()

    def _check(self, path: str, headers: Headers) -> None:
        if self._stopping:
            raise Refusal(UnavailableError("The server is shutting down."))
        if (repeated := headers.repeats(*_SINGLE)) is not None:
            raise Refusal(
                InvalidArgumentsError(f"The header {repeated} is repeated. Send it once.")
            )
        if not needs_no_name(path, headers):
            check_address(self._guard, headers)


class _Answering:
    """A request and the means to answer it once.

    Args:
        scope: The ASGI scope.
        receive: The ASGI receive function.
        send: The ASGI send function.
        request_id: Stands in a header of every answer.
        unread: Counts the answers that wait to be read.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, unread: UnreadBudget
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self._unread = unread
        self._held = ExitStack()
        self._answered = False

    def __enter__(self) -> None:
        """Begin to answer."""

    def __exit__(self, *_failure: object) -> None:
        self._held.close()
        # They refer to each other.
        del self._scope[_ANSWERING]

    def hold(self, principal: Principal, response: Response, *, unknown_outcome: bool) -> None:
        """Count a large response until it is read.

        Raises:
            OverloadedError: Too much waits to be read already.
        """
        size = len(response.body)
        if size <= LARGE:
            return
        if not self._unread.has_room(principal.subject, size):
            raise too_much_unread(unknown_outcome=unknown_outcome)
        self._held.enter_context(self._unread.hold(principal.subject, size))

    async def send(self, message: ASGIMessage) -> None:
        """Send one ASGI message.

        Raises:
            ClientGoneError: The request was given up.
        """
        if message["type"] == "http.response.start":
            self._answered = True
            identity = (b"x-request-id", self._request_id.encode())
            message["headers"] = [*message.get("headers", []), identity]
            await self._send(message)
        elif message.get("more_body", False):
            await self._send(message)
        else:
            body = message.get("body", b"")
            if len(body) > LARGE:
                message["body"] = await send_most(self._send, body)
            await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error."""
        assert isinstance(refusal.error, ServerError)  # noqa: S101 - no RPC here
        response = _error_response(refusal.error, self._request_id, status=refusal.status)
        await response(self._scope, self._receive, self.send)

    async def give_up(self) -> None:
        """Answer in place of what the stop has cancelled; what that still sends is dropped."""
        if self._answered:
            return
        ended = stopped_during(may_have_changed=self._scope["method"] == "POST")
        response = _error_response(ended, self._request_id)
        send = _Answering(
            self._scope, self._receive, self._send, self._request_id, self._unread
        ).send
        self._answered = True
        self._send = _gone
        await response(self._scope, self._receive, send)


async def _gone(_message: ASGIMessage) -> None:
    raise ClientGoneError


def _error_response(
    error: ServerError,
    request_id: str,
    challenge: str | None = None,
    *,
    status: int | None = None,
) -> JsonBytes:
    headers = {}
    if challenge is not None:
        headers["WWW-Authenticate"] = challenge
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    return JsonBytes({"error": error.to_dict(request_id)}, status or error.http_status, headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    kind = _HTTP_ERRORS.get(error.status_code, InternalError)
    body = kind(f"{error.detail}. See /docs.").to_dict(request.scope[_REQUEST_ID])
    headers = error.headers
    if error.status_code == 405:
        headers = {**(headers or {}), "Allow": ", ".join(sorted(_methods_of(request)))}
    return JSONResponse({"error": body}, error.status_code, headers=headers)


def _methods_of(request: Request) -> set[str]:
    """The methods of all routes with the request's path; Starlette tells those of the first."""
    methods: set[str] = set()
    for route in request.app.routes:
        found, _ = route.matches(request.scope)
        if found is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods | {"HEAD"} if "GET" in methods else methods


async def _answer_defect(request: Request, _error: Exception) -> Response:
    return _error_response(
        InternalError("The server could not do this. Report the request id to its operator."),
        request.scope[_REQUEST_ID],
    )
