"""`/metrics` for Prometheus and for people, behind the same authentication as everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import FastAPI, Request, Response

from kailash_mcp_prod.auth.principal import Principal


class MetricsHost(Protocol):
    """Who knows the metrics; `observe.metrics_monitor.Monitor` is one."""

    async def export(self, principal: Principal, accept: str) -> tuple[bytes, str]:
        """The metrics in the form that the header `Accept` names, and its content type.

        Raises:
            ServerError: There are none, or not for this principal.
        """

    def sent(self, principal: Principal, body: bytes) -> None:
        """Counts the body of an answer."""


def add_metrics(
    app: FastAPI, metrics: MetricsHost, principal_of: Callable[[Request], Awaitable[Principal]]
) -> None:
    """Adds the route."""

    @app.get(
        "/metrics",
        response_class=Response,
        summary="The metrics for Prometheus, or as JSON",
    )
    async def show_metrics(request: Request) -> Response:
        principal = await principal_of(request)
        accept = ",".join(request.headers.getlist("accept"))
        body, content_type = await metrics.export(principal, accept)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})
