"""REST below the prefix: status, tools and workflow sessions, as a pure ASGI application."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
from kailash_mcp_prod.nexus.rest_bodies import named_call
from kailash_mcp_prod.nexus.rest_request import RestRequest
from kailash_mcp_prod.nexus.rest_workflows import WorkflowRoutes
from kailash_mcp_prod.nexus.status import status_of
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.protocol import Authenticator
from kailash_mcp_prod.serving import Surroundings
from kailash_mcp_prod.tools.surfaces.names import FULL
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    LARGE,
    ClientGoneError,
    RawHeaders,
    Receive,
    Scope,
    Send,
    path_below_root,
)
from kailash_mcp_prod.transports.body_budget import BodyBudget
from kailash_mcp_prod.transports.http_capacity import Capacity
from kailash_mcp_prod.transports.http_exchange import Refusal, check_address
from kailash_mcp_prod.transports.http_guard import HostGuard
from kailash_mcp_prod.transports.http_headers import (
    IDEMPOTENCY_HEADER,
    accepts_gzip,
    idempotency_key,
)
from kailash_mcp_prod.transports.rest_arguments import read_arguments
from kailash_mcp_prod.transports.unread_budget import too_much_unread

if TYPE_CHECKING:
    from kailash_mcp_prod.nexus.server import MountedServer

log = get_logger(__name__)

PATHS: Final = ("status", "tools", "execute-tool", "workflows", "dashboard")
"""What is REST below the prefix; everything else there is MCP."""

_STOP_SECONDS: Final = 1.0
_SINGLE: Final = (
    *(b"host", b"origin", b"authorization", b"x-api-key", b"content-type"),
    IDEMPOTENCY_HEADER,
)


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
        self._of_workflows = WorkflowRoutes(server.policy, server.overseer)
        self._running = Capacity(0, 0)
        self._stopping = False

    async def stop(self) -> None:
        """Refuses new requests, waits a second for running ones, and ends the rest with 503."""
        self._stopping = True
        await self._running.end(_STOP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one HTTP request."""
        request = RestRequest(scope, receive, send)
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

    async def _answer(self, request: RestRequest) -> tuple[_Answer, Principal]:
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
                named = named_call(await self._body(request, principal))
                if named.label is not None:
                    # Who calls is told by the credential: this only helps to find a call again.
                    log.info("call_labelled", request_id=request.id, label=named.label)
                return await self._call(request, principal, named.tool, named.arguments), principal
            case ["workflows", *rest]:
                return await self._workflows(request, principal, method, rest), principal
        raise _nothing_here(self._prefix)

    def _tools(self, request: RestRequest, principal: Principal) -> _Answer:
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
        self, request: RestRequest, principal: Principal, method: str, rest: list[str]
    ) -> _Answer:
        wanted = await self._of_workflows.wanted(
            request, principal, method, rest, lambda: self._body(request, principal)
        )
        if wanted is None:
            raise _nothing_here(self._prefix)
        if isinstance(wanted.tool, str):
            answer = await self._call(request, principal, wanted.tool, wanted.arguments)
            return _Answer(answer.body, wanted.status)
        found = await self._service.run(principal, wanted.tool, request_id=request.id)
        return _Answer(msgspec.json.encode(found))

    async def _call(
        self, request: RestRequest, principal: Principal, name: str, arguments: dict[str, Any]
    ) -> _Answer:
        key = idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
        request.may_have_changed = True
        result = await self._service.call(
            principal, name, arguments, request_id=request.id, surface=FULL, idempotency_key=key
        )
        return _Answer(msgspec.json.encode(result))

    async def _body(self, request: RestRequest, principal: Principal) -> dict[str, Any]:
        headers = request.headers
        return await read_arguments(
            request.receive,
            self._service,
            self._bodies,
            principal,
            content_length=headers.get(b"content-length"),
            content_type=headers.get(b"content-type"),
        )

    async def _send(self, request: RestRequest, answer: _Answer, principal: Principal) -> None:
        with ExitStack() as held:
            size = len(answer.body)
            if size > LARGE:
                if not self._unread.has_room(principal.subject, size):
                    raise too_much_unread(unknown_outcome=request.may_have_changed)
                held.enter_context(self._unread.hold(principal.subject, size))
            await request.answer(answer.status, [JSON_TYPE, *answer.headers], answer.body)

    async def _refuse(self, request: RestRequest, error: ServerError, status: int) -> None:
        headers: RawHeaders = []
        if (challenge := self._challenges.of(error)) is not None:
            headers.append((b"www-authenticate", challenge.encode()))
        await request.refuse(error, status, headers)


def _nothing_here(prefix: str) -> NotFoundError:
    return NotFoundError(f"There is nothing here. {prefix}/status has the addresses.")
