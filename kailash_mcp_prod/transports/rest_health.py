"""`/health`, `/health/live`, `/health/ready`: for operators, load balancers, orchestrators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
from fastapi import FastAPI, Request, Response

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import UnavailableError
from kailash_mcp_prod.transports.http_headers import Headers

LIVE: Final = "/health/live"
READY: Final = "/health/ready"
_SERVING: Final = frozenset({"healthy", "degraded"})
_CREDENTIALS: Final = ("authorization", "x-api-key")


class HealthHost(Protocol):
    """Reports of `health_status` and `components`; `health_checks.ServerHealth` makes them."""

    async def report(self) -> dict[str, Any]:
        """All there is to say."""

    async def brief(self) -> dict[str, Any]:
        """The same in words of status alone."""

    async def ready(self) -> dict[str, Any]:
        """What clients need, in words of status alone."""

    def shows_all(self, principal: Principal | None) -> bool:
        """Whether the principal, or whoever shows no credential, may see the report."""


def add_health(
    app: FastAPI,
    health: HealthHost,
    principal_of: Callable[[Request], Awaitable[Principal]],
) -> None:
    """Adds the three routes.

    Args:
        app: Gets them.
        health: Makes the reports.
        principal_of: Who sends a request, by its credential.
    """

    @app.get("/health", summary="How the server and its components are")
    async def full(request: Request) -> Response:
        """Without a credential that has `monitor:read`: words of status alone."""
        principal = None
        if any(name in request.headers for name in _CREDENTIALS):
            try:
                principal = await principal_of(request)
            except UnavailableError:
                # What could tell is down, and that is what is asked for.
                return _answer(await health.brief())
        if health.shows_all(principal):
            return _answer(await health.report())
        return _answer(await health.brief())

    @app.get(LIVE, summary="Whether the process works; nothing else is asked")
    async def live() -> Response:
        return _answer({"health_status": "healthy"})

    @app.get(READY, summary="Whether clients should be sent here; 503 if not")
    async def ready() -> Response:
        return _answer(await health.ready())


def needs_no_name(path: str, headers: Headers) -> bool:
    """Whether the request may name the server as it likes.

    Orchestrators ask by the address of the machine. A page can read no more than words of status,
    and its `Origin` is checked anyway.
    """
    return path in {LIVE, READY} and headers.get(b"origin") is None


def _answer(report: dict[str, Any]) -> Response:
    return Response(
        msgspec.json.encode(report),
        200 if report["health_status"] in _SERVING else 503,
        # What was true a second ago is no answer, whatever cache is in between.
        {"cache-control": "no-store"},
        "application/json",
    )
