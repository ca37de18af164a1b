"""`Dashboard`: the pages at `/dashboard` and the JSON that they ask for."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.errors import (
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnauthenticatedError,
)
from kailash_mcp_prod.observe.dashboard.catalogue import MAX_QUERY, ShownTools
from kailash_mcp_prod.observe.dashboard.cookies import IDLE_SECONDS, LogIn, LogIns
from kailash_mcp_prod.observe.dashboard.doors import Doors
from kailash_mcp_prod.observe.dashboard.figures import NO_CALLS
from kailash_mcp_prod.observe.dashboard.files import StaticFiles
from kailash_mcp_prod.observe.dashboard.reasons import Question, Reasons
from kailash_mcp_prod.observe.dashboard.sight import Sight
from kailash_mcp_prod.observe.dashboard.trail import FILTERS, Trail
from kailash_mcp_prod.observe.dashboard.views import Sources, Views
from kailash_mcp_prod.observe.dashboard.web import (
    Answer,
    JsonResponse,
    Secured,
    asked,
    cookie_name,
    error_response,
    read_body,
    request_id,
    require_own_page,
    set_cookie,
    shell,
)
from kailash_mcp_prod.observe.logs import get_logger

log = get_logger(__name__)

PAGES: Final = {
    "": "Overview",
    "tools": "Tools",
    "sessions": "Agents and sessions",
    "workspaces": "Workspaces",
    "workflows": "Workflow sessions",
    "limits": "Breakers and limits",
    "audit": "Audit",
    "explain": "Explain",
}

INTEGRATIONS: Final = {"nexus": "Nexus"}
"""The pages that are there only where the server is put together with that."""

_LOGIN_BODY: Final = 16 * 1024

Page = Callable[[Request, Sight], Awaitable[Any]]


class _Credential(msgspec.Struct, forbid_unknown_fields=True):
    credential: str


class _Trial(msgspec.Struct, forbid_unknown_fields=True):
    arguments: dict[str, Any]
    confirmed: bool = False


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Dashboard:
    """An ASGI application, to be mounted at a path of its own.

    Args:
        sources: What the pages look at.
        log_ins: Who is logged in; `None` lets everybody in, as the server does then.
        reasons: Answers the page Explain.
        trail: Answers the page Audit.
    """

    def __init__(
        self, sources: Sources, log_ins: LogIns | None, reasons: Reasons, trail: Trail
    ) -> None:
        self._of = sources
        self._log_ins = log_ins
        self._views = Views(sources)
        self._tools = ShownTools(sources.service, sources.policy)
        self._reasons = reasons
        self._trail = trail
        self._doors = Doors()
        self._app = Secured(
            Starlette(
                routes=self._routes(),
                exception_handlers={
                    ServerError: _answer_refusal,
                    HTTPException: _answer_http_error,
                    Exception: _answer_defect,
                },
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""
        await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Ends what is being looked up."""
        await self._views.figures.stop()
        await self._views.fresh.close()
        await self._trail.close()

    def _routes(self) -> list[BaseRoute]:
        of = self._views
        answers: dict[str, Page] = {
            "/api/overview": _plain(of.overview),
            "/api/sessions": _plain(of.sessions),
            "/api/workspaces": _plain(of.workspaces),
            "/api/workflows": _plain(of.workflows),
            "/api/workflows/{id}": self._workflow,
            "/api/limits": _plain(of.limits),
            "/api/integrations/{name}": self._integration,
            "/api/tools": self._list_tools,
            "/api/tools/{name}": self._describe_tool,
            "/api/explain": self._list_agents,
            "/api/audit": self._audit,
        }
        changes: dict[str, Page] = {
            "/api/tools/{name}": self._try_tool,
            "/api/sessions/{id}/end": self._end_session,
            "/api/explain": self._explain,
            "/api/audit/verify": self._verify_audit,
        }
        return [
            Route("/static/{name:path}", StaticFiles().answer),
            Route("/login", self._login_page),
            Route("/api/login", self._log_in, methods=["POST"]),
            Route("/api/logout", self._log_out, methods=["POST"]),
            Route("/api/pulse", self._answering(self._pulse, looks=True)),
            *(Route(path, self._answering(page)) for path, page in answers.items()),
            *(
                Route(path, self._answering(page, changes=True), methods=["POST"])
                for path, page in changes.items()
            ),
            Route("/api/{rest:path}", self._answering(_nothing_there)),
            Route("/{page:path}", self._page),
        ]

    def _answering(self, page: Page, *, changes: bool = False, looks: bool = False) -> Answer:
        @functools.wraps(page)
        async def answer(request: Request) -> Response:
            if changes:
                require_own_page(request)
            sight, login = await self._enter(request)
            if looks:
                self._doors.look("" if login is None else login.id)
            response = JsonResponse(await page(request, sight))
            renewed = (
                None if login is None or self._log_ins is None else self._log_ins.renewed(login)
            )
            if renewed is not None:
                set_cookie(request, response, renewed, IDLE_SECONDS)
            return response

        return answer

    async def _enter(self, request: Request) -> tuple[Sight, LogIn | None]:
        """Who asks.

        Raises:
            UnauthenticatedError: Nobody who is logged in.
        """
        if self._log_ins is None:
            return Sight.of(self._of.policy, ANONYMOUS), None
        cookie = request.cookies.get(cookie_name(request))
        principal, login = await self._log_ins.find(cookie)
        return Sight.of(self._of.policy, principal), login

    async def _page(self, request: Request) -> Response:
        name = request.path_params["page"].strip("/")
        first = name.partition("/")[0]
        root = request.scope.get("root_path", "")
        wanted = f"#/{request.path_params['page']}" if name else ""
        try:
            await self._enter(request)
        except UnauthenticatedError:
            # The same for pages that do not exist.
            return RedirectResponse(f"{root}/login{wanted}", 303, {"Cache-Control": "no-store"})
        title = PAGES.get(first) or (first in self._of.integrations and INTEGRATIONS.get(first))
        if not title:
            response = shell(request, "Not found", "dashboard.js")
            response.status_code = 404
            return response
        return shell(request, title, "dashboard.js")

    async def _login_page(self, request: Request) -> Response:
        if self._log_ins is None:
            return RedirectResponse(f"{request.scope.get('root_path', '')}/", 303)
        return shell(request, "Log in", "login.js")

    async def _log_in(self, request: Request) -> Response:
        require_own_page(request)
        if self._log_ins is None:
            raise NotFoundError("The server asks nobody who they are.")
        self._doors.try_from("" if request.client is None else request.client.host)
        shown = await read_body(request, _Credential, _LOGIN_BODY)
        principal, cookie = await self._log_ins.begin(shown.credential.strip())
        log.info("dashboard_log_in", subject=principal.subject)
        response = JsonResponse({"subject": principal.subject})
        set_cookie(request, response, cookie, IDLE_SECONDS)
        return response

    async def _log_out(self, request: Request) -> Response:
        require_own_page(request)
        cookie = request.cookies.get(cookie_name(request))
        if self._log_ins is not None:
            ended = self._log_ins.end(cookie)
            if ended is not None:
                self._doors.leave(ended)
        response = JsonResponse({"logged_out": True})
        set_cookie(request, response, None)
        return response

    async def _pulse(self, request: Request, sight: Sight) -> dict[str, Any]:
        asked(request)
        self._views.figures.look()
        return {
            "subject": sight.principal.subject,
            "may": sight.to_dict(),
            "asks": self._log_ins is not None and sight.principal is not ANONYMOUS,
            "integrations": list(self._of.integrations),
            "health": (await self._views.health())["health_status"],
            "version": __version__,
        }

    async def _workflow(self, request: Request, sight: Sight) -> dict[str, Any]:
        asked(request)
        return await self._views.workflow(sight, request.path_params["id"])

    async def _integration(self, request: Request, sight: Sight) -> Any:
        asked(request)
        return await self._views.integration(sight, request.path_params["name"])

    async def _list_tools(self, request: Request, sight: Sight) -> dict[str, Any]:
        query = asked(request, "query").get("query", "")
        if len(query) > MAX_QUERY:
            raise InvalidArgumentsError(f"query: at most {MAX_QUERY} characters.", field="query")
        if query:
            await self._of.service.charge(sight.principal)
        tools = await self._tools.find(sight.principal, query)
        if sight.monitor:
            figures = await self._views.figures.tools()
            tools = [{**each, "figures": figures.get(each["name"], NO_CALLS)} for each in tools]
        return {"tools": tools, "count": len(tools)}

    async def _describe_tool(self, request: Request, sight: Sight) -> dict[str, Any]:
        asked(request)
        tool = self._tools.describe(sight.principal, request.path_params["name"])
        if sight.monitor:
            tool["figures"] = (await self._views.figures.tools()).get(tool["name"], NO_CALLS)
        return tool

    async def _try_tool(self, request: Request, sight: Sight) -> dict[str, Any]:
        trial = await read_body(request, _Trial)
        result = await self._tools.call(
            sight.principal,
            request.path_params["name"],
            trial.arguments,
            confirmed=trial.confirmed,
            request_id=request_id(request),
        )
        return {"result": result, "request_id": request_id(request)}

    async def _end_session(self, request: Request, sight: Sight) -> dict[str, Any]:
        await read_body(request, _Nothing)
        return await self._views.end_session(sight, request.path_params["id"])

    async def _audit(self, request: Request, sight: Sight) -> dict[str, Any]:
        sight.require_monitor()
        given = asked(request, *FILTERS)
        await self._of.service.charge(sight.principal)
        return await self._trail.find(given)

    async def _verify_audit(self, request: Request, sight: Sight) -> dict[str, Any]:
        sight.require_monitor()
        await read_body(request, _Nothing)
        await self._of.service.charge(sight.principal)
        return await self._trail.verify()

    async def _list_agents(self, request: Request, sight: Sight) -> dict[str, Any]:
        asked(request)
        return {"agents": self._reasons.agents(sight)}

    async def _explain(self, request: Request, sight: Sight) -> dict[str, Any]:
        question = await read_body(request, Question)
        await self._of.service.charge(sight.principal)
        return await self._reasons.answer(sight, question)


def _plain(view: Callable[[Sight], Awaitable[Any]]) -> Page:
    """A page that has no parameters."""

    async def page(request: Request, sight: Sight) -> Any:
        asked(request)
        return await view(sight)

    return page


async def _nothing_there(_request: Request, _sight: Sight) -> Any:
    raise NotFoundError("There is nothing at this address.")


async def _answer_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServerError)  # noqa: S101 - registered for this class
    response = error_response(request, error)
    if isinstance(error, UnauthenticatedError):
        set_cookie(request, response, None)
    return response


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    kind = NotFoundError if error.status_code == 404 else InvalidArgumentsError
    response = error_response(request, kind(f"{error.detail}."))
    response.status_code = error.status_code
    return response


async def _answer_defect(request: Request, _error: Exception) -> Response:
    return error_response(
        request, InternalError("The server could not do this. Report the request id.")
    )
