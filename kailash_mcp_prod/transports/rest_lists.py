"""What REST needs of the tools, and how it answers with a list of them."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import Request, Response

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.transports.http_headers import accepts_gzip

DEFAULT_SURFACE = "full"
"""Programs know their tools by name, so only the URL chooses another surface."""

_MAX_FINGERPRINTS = 20


class ToolList(Protocol):
    """An encoded list of tools; `tools.lists.EncodedList` is one."""

    @property
    def document(self) -> bytes:
        """The JSON object `{"tools": […]}`."""

    @property
    def gzipped(self) -> bytes:
        """The document, compressed with gzip."""

    @property
    def fingerprint(self) -> str:
        """A text that is the same exactly for the same list."""


class RestHost(Protocol):
    """The tools behind REST; `tools.ToolService` is one."""

    def encoded_list(self, principal: Principal, surface: str) -> ToolList:
        """The tools of a surface that this principal may see.

        Raises:
            ServerError: There is no such surface.
        """

    def describe(self, principal: Principal, name: str, surface: str) -> dict[str, Any]:
        """One of these tools with its exact schemas.

        Raises:
            ServerError: There is no such surface or tool.
        """

    async def charge(self, principal: Principal) -> None:
        """Count what was no call, as if it were one.

        Raises:
            ServerError: The principal has used up its calls.
        """

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        request_id: str,
        surface: str,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Run a tool and return its JSON-safe structured result.

        Raises:
            ServerError: The call failed.
        """


def answer_list(request: Request, tools: ToolList) -> Response:
    """The list, compressed where that is accepted; 304 when the client has it already.

    Args:
        request: Its `If-None-Match` and `Accept-Encoding` count.
        tools: The list.
    """
    tag = f'W/"{tools.fingerprint}"'
    headers = {
        "ETag": tag,
        # Lists belong to a credential, and change with the models.
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Authorization, X-API-Key",
    }
    if _holds(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    if accepts_gzip(request.headers.get("accept-encoding")):
        headers["Content-Encoding"] = "gzip"
        return Response(tools.gzipped, headers=headers, media_type="application/json")
    return Response(tools.document, headers=headers, media_type="application/json")


def _holds(if_none_match: str, tag: str) -> bool:
    """Whether the client has this very list; tags are compared weakly (RFC 9110, 13.1.2)."""
    held = [each.strip() for each in if_none_match.split(",", _MAX_FINGERPRINTS)]
    return "*" in held or any(each.removeprefix("W/") == tag.removeprefix("W/") for each in held)
