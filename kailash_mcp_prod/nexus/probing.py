"""Asks the app's middlewares who a client is, by a request that goes no further than them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.errors import (
    ForbiddenError,
    RateLimitedError,
    ServerError,
    UnauthenticatedError,
    UnavailableError,
)
from kailash_mcp_prod.transports.asgi import ASGIMessage, RawHeaders, Receive, Scope, Send

_log = logging.getLogger(__name__)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

PROBE: Final = "kailash_mcp_prod.probe"
"""Where the scope of such a request has its `Probe`."""

_OF_THE_UPGRADE: Final = (b"connection", b"upgrade")
_OF_A_BROWSER: Final = (
    *(b"authorization", b"x-api-key", b"cookie", b"origin", b"content-length", b"content-type"),
    *(b"transfer-encoding", b"if-none-match"),
)


@dataclass(slots=True)
class Probe:
    """What the middlewares have said: `state` if they let the request through, else an answer."""

    state: dict[str, Any] | None = None
    status: int = 401
    body: bytearray = field(default_factory=bytearray)
    headers: RawHeaders = field(default_factory=list)


async def probe_upgrade(stack: ASGIApp, scope: Scope) -> Probe:
    """Asks with the headers of a WebSocket's upgrade.

    Args:
        stack: The middlewares around what answers a probe.
        scope: That of the WebSocket.
    """
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in _OF_THE_UPGRADE and not name.startswith(b"sec-websocket-")
    ]
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    return await _probe(stack, {**scope, "scheme": scheme}, headers)


async def probe_credential(
    stack: ASGIApp, scope: Scope, path: str, credentials: Credentials
) -> Scope:
    """Asks about a credential that is not in the headers of the request itself.

    Args:
        stack: The middlewares around what answers a probe.
        scope: That of the request.
        path: What the credential is to be good for.
        credentials: It; nothing asks whether somebody without one may come in.

    Returns:
        The scope of a request with that credential, with what the middlewares found out.

    Raises:
        ServerError: They refuse it.
    """
    headers = [each for each in scope["headers"] if each[0] not in _OF_A_BROWSER]
    if credentials.authorization is not None:
        headers.append((b"authorization", credentials.authorization.encode("latin-1", "replace")))
    if credentials.api_key is not None:
        headers.append((b"x-api-key", credentials.api_key.encode("latin-1", "replace")))
    path = scope.get("root_path", "") + path
    asked = {**scope, "path": path, "raw_path": path.encode(), "query_string": b""}
    probe = await _probe(stack, asked, headers)
    if probe.state is None:
        raise _refusal(probe.status)
    return {**asked, "headers": headers, "state": {**(scope.get("state") or {}), **probe.state}}


async def _probe(stack: ASGIApp, scope: Scope, headers: RawHeaders) -> Probe:
    probe = Probe()
    asked = {
        **scope,
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "headers": headers,
        "state": dict(scope.get("state") or {}),
        "extensions": {},
        PROBE: probe,
    }
    asked.pop("subprotocols", None)
    pending: list[ASGIMessage] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> ASGIMessage:
        return pending.pop() if pending else {"type": "http.disconnect"}

    async def send(message: ASGIMessage) -> None:
        if message["type"] == "http.response.start":
            probe.status = message["status"]
            probe.headers = list(message.get("headers", []))
        elif message["type"] == "http.response.body":
            probe.body += message.get("body", b"")

    try:
        await stack(asked, receive, send)
    except Exception:  # noqa: BLE001 - the boundary
        _log.exception("A middleware failed")
        probe.state, probe.status = None, 500
    return probe


def _refusal(status: int) -> ServerError:
    if status == 401:
        return UnauthenticatedError("The Nexus app does not take this credential.")
    if status == 403:
        return ForbiddenError("The Nexus app does not let this credential in.")
    if status == 429:
        return RateLimitedError("The Nexus app has had too many requests.", retry_after_seconds=1)
    return UnavailableError("The Nexus app could not say who this is.", retry_after_seconds=1)
