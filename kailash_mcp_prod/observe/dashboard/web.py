"""What the dashboard's requests have in common: who asks, from which page, and what goes back."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kailash_mcp_prod.errors import ForbiddenError, InvalidArgumentsError, ServerError
from kailash_mcp_prod.protocol.nesting import nests_deeper_than

COOKIE: Final = "kailash_dashboard"
HEADER: Final = "x-dashboard"
"""Stands in every request that changes something: no form of another page can send it."""

MAX_BODY: Final = 1024 * 1024

_MAX_DEPTH: Final = 64
_BODY_SECONDS: Final = 15
_REQUEST_ID: Final = "kailash.request_id"

_S = TypeVar("_S")

SECURITY: Final = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class JsonResponse(Response):
    """JSON that nobody keeps."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store"})

    def render(self, content: Any) -> bytes:
        """The body."""
        return msgspec.json.encode(content)


class Secured:
    """Gives every answer of an application the headers that keep others out.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one ASGI connection."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *SECURITY]
            await send(message)

        if scope["type"] == "http":
            with suppress(ClientDisconnect):
                await self._app(scope, receive, secured)


def request_id(request: Request) -> str:
    """The id of a request, which stands in the log and in errors."""
    found: str = request.scope.setdefault(_REQUEST_ID, uuid4().hex)
    return found


def error_response(request: Request, error: ServerError) -> Response:
    """The same error that REST answers with."""
    response = JsonResponse({"error": error.to_dict(request_id(request))}, error.http_status)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    return response


def require_own_page(request: Request) -> None:
    """Refuses a change that a page of somebody else asks for.

    Raises:
        ForbiddenError: It does, or may.
    """
    headers = request.headers
    origin = headers.get("origin")
    elsewhere = (
        origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    )
    site = headers.get("sec-fetch-site", "same-origin")
    if elsewhere or site != "same-origin" or headers.get(HEADER) != "1":
        raise ForbiddenError("Only the dashboard's own pages may ask for this.")


def is_secure(request: Request) -> bool:
    """Whether the browser has come over TLS, as far as a proxy in front says so."""
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return "https" in (request.url.scheme, forwarded.lower())


def cookie_name(request: Request) -> str:
    """One for each port, which cookies themselves do not tell apart."""
    port = urlsplit(f"//{request.headers.get('host', '')}").port
    return COOKIE if port is None else f"{COOKIE}_{port}"


def set_cookie(request: Request, response: Response, value: str | None, seconds: float = 0) -> None:
    """Keeps a log-in in the browser, or with `None` removes it."""
    response.set_cookie(
        cookie_name(request),
        value or "",
        max_age=0 if value is None else int(seconds),
        path=request.scope.get("root_path", "") or "/",
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )


async def read_body(request: Request, form: type[_S], most: int = MAX_BODY) -> _S:
    """The JSON of a request, as a form has it.

    Raises:
        InvalidArgumentsError: It is too long, comes too slowly or is not of that form.
    """
    held = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                held += part
                if len(held) > most:
                    raise InvalidArgumentsError(f"The body is longer than {most} bytes.")
    except TimeoutError:
        raise InvalidArgumentsError("The body comes too slowly.") from None
    if nests_deeper_than(_MAX_DEPTH, bytes(held)):
        raise InvalidArgumentsError(f"The body is nested deeper than {_MAX_DEPTH} levels.")
    try:
        return msgspec.json.decode(bytes(held), type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as problem:
        text = str(problem) if isinstance(problem, msgspec.ValidationError) else "not valid JSON"
        raise InvalidArgumentsError(f"The body is wrong: {text}.") from None


def asked(request: Request, *known: str) -> Mapping[str, str]:
    """The parameters of a request.

    Raises:
        InvalidArgumentsError: There is another one, or one twice.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known or name in found:
            allowed = ", ".join(known) or "none"
            raise InvalidArgumentsError(f"Unknown or repeated parameter. Known: {allowed}.")
        if value:
            found[name] = value
    return found


Answer = Callable[[Request], Awaitable[Response]]

_SHELL: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{title} · Kailash MCP</title>
<link rel="icon" href="{root}/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}/static/dashboard.css">
<script src="{root}/static/theme.js"></script>
<script type="module" src="{root}/static/{module}"></script>
</head>
<body data-root="{root}">
<noscript><p class="noscript">The dashboard needs JavaScript.</p></noscript>
<div id="app"><div class="boot" role="status">Loading…</div></div>
</body>
</html>
"""


def shell(request: Request, title: str, module: str) -> Response:
    """A page without data: its modules ask for that."""
    root = html.escape(request.scope.get("root_path", ""))
    body = _SHELL.format(title=html.escape(title), root=root, module=module)
    return Response(body, media_type="text/html", headers={"Cache-Control": "no-store"})
