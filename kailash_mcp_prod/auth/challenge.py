"""What an HTTP answer tells a client about the credential it should get.

Source: RFC 6750, RFC 9728 and the page *Authorization* of MCP 2025-11-25 and 2026-07-28.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from kailash_mcp_prod.errors import InsufficientScopeError, ServerError, UnauthenticatedError

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The server as a resource that an authorization server protects.

    Args:
        url: The address of MCP, as clients know it.
        authorization_servers: Who issues tokens for it.
        scopes: The scopes that clients may ask for.
    """

    url: str
    authorization_servers: tuple[str, ...]
    scopes: tuple[str, ...] = ()

    @property
    def metadata_url(self) -> str:
        """Where clients find the metadata."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{self.path}"

    @property
    def path(self) -> str:
        """The path of the address, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def metadata(self) -> dict[str, Any]:
        """The document of RFC 9728."""
        scopes = {"scopes_supported": list(self.scopes)} if self.scopes else {}
        return {
            "resource": self.url,
            "authorization_servers": list(self.authorization_servers),
            **scopes,
            "bearer_methods_supported": ["header"],
        }


@dataclass(frozen=True, slots=True)
class Challenges:
    """Makes the header `WWW-Authenticate`.

    Args:
        resource: The server as a protected resource, if it is one.
        scope: What a client without a token is told to ask for.
    """

    resource: ProtectedResource | None = None
    scope: tuple[str, ...] = ()

    def of(self, error: ServerError) -> str | None:
        """The header's value for an error; `None` when it has none.

        Example:
            >>> Challenges(scope=("mcp",)).of(UnauthenticatedError("Who are you?"))
            'Bearer scope="mcp"'
        """
        match error:
            case UnauthenticatedError():
                fault = "invalid_token" if error.token_sent else None
                return self._header(fault, self.scope)
            case InsufficientScopeError():
                return self._header("insufficient_scope", error.scope)
            case _:
                return None

    def _header(self, error: str | None, scope: tuple[str, ...]) -> str:
        parameters = {
            "error": error,
            "scope": " ".join(scope),
            "resource_metadata": None if self.resource is None else self.resource.metadata_url,
        }
        listed = [f'{name}="{value}"' for name, value in parameters.items() if value]
        return f"Bearer {', '.join(listed)}".rstrip()
