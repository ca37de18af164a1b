"""REST for workflow sessions: which tool a request to one of their paths comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError
from kailash_mcp_prod.nexus.rest_request import RestRequest, not_allowed
from kailash_mcp_prod.observe.dashboard.sight import Sight
from kailash_mcp_prod.sessions.workflow_listing import EVERYBODYS, listing_tool
from kailash_mcp_prod.tools.spec import ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.overseeing import Overseer

CREATE: Final = "create_agent_workflow_session"
STEP: Final = "execute_workflow_step"
STATUS: Final = "get_workflow_session_status"
CLEANUP: Final = "cleanup_workflow_sessions"

_SESSION: Final = "workflow_session_id"

Body = Callable[[], Awaitable[dict[str, Any]]]
"""Reads the body of the request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tool that a request asks for: one by its name, or one that no list shows."""

    tool: str | ToolSpec
    arguments: dict[str, Any] = field(default_factory=dict)
    status: int = 200


class WorkflowRoutes:
    """The paths of workflow sessions.

    Args:
        policy: Who may see everybody's.
        overseer: Opens what is kept of them.
    """

    def __init__(self, policy: Policy, overseer: Callable[[], Awaitable[Overseer]]) -> None:
        self._policy = policy
        self._overseer = overseer

    async def wanted(
        self, request: RestRequest, principal: Principal, method: str, rest: list[str], body: Body
    ) -> Wanted | None:
        """What a request comes to; `None` where there is nothing.

        Args:
            request: It.
            principal: Who asks.
            method: Its method; GET for HEAD.
            rest: The steps of its path behind that of all sessions.
            body: Reads its body.

        Raises:
            InvalidArgumentsError: Its method or a parameter is wrong.
            ForbiddenError: It asks for everybody's sessions, which the principal may not see.
        """
        match method, rest:
            case "GET", []:
                request.take(method, "GET", "limit", "cursor", "all")
                return Wanted(self._listing(request, principal))
            case "POST", []:
                request.take(method, "POST")
                return Wanted(CREATE, await body(), 201)
            case "DELETE", []:
                request.take(method, "DELETE", "idle_minutes")
                return Wanted(CLEANUP, dict(request.number("idle_minutes")))
            case "GET", [session]:
                request.take(method, "GET", "include_results")
                return Wanted(STATUS, {_SESSION: session, **request.flag("include_results")})
            case "DELETE", [session]:
                request.take(method, "DELETE")
                return Wanted(CLEANUP, {_SESSION: session})
            case "POST", [session, "steps"]:
                request.take(method, "POST")
                arguments = await body()
                if _SESSION in arguments:
                    raise InvalidArgumentsError(
                        f"{_SESSION}: the path says which session it is; leave this out.",
                        field=_SESSION,
                    )
                return Wanted(STEP, {_SESSION: session, **arguments})
        allowed = {0: "GET, POST, DELETE", 1: "GET, DELETE"}.get(len(rest))
        if len(rest) == 2 and rest[1] == "steps":
            allowed = "POST"
        if allowed is None:
            return None
        raise not_allowed(method, allowed)

    def _listing(self, request: RestRequest, principal: Principal) -> ToolSpec:
        everybody = request.flag("all").get("all", False)
        if everybody and not Sight.of(self._policy, principal).everybody:
            raise ForbiddenError(
                f"all: this needs the permission {EVERYBODYS}, and no tenant. Leave it out to see "
                "your own.",
                field="all",
                details={"required": [EVERYBODYS]},
            )
        return listing_tool(
            self._overseer,
            everybody=everybody,
            cursor=request.query.get("cursor"),
            **request.whole("limit"),
        )
