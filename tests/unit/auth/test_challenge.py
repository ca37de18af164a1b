"""What refusals tell of the credential to get."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.challenge import Challenges, ProtectedResource
from kailash_mcp_prod.errors import (
    ForbiddenError,
    InsufficientScopeError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
)

RESOURCE = ProtectedResource(
    "https://mcp.example.com/mcp", ("https://auth.example.com",), ("mcp", "*:read")
)
METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
FULL = Challenges(RESOURCE, ("mcp", "*:read"))


def unauthenticated(*, token_sent: bool) -> UnauthenticatedError:
    error = UnauthenticatedError("No.")
    error.token_sent = token_sent
    return error


def test_a_client_without_a_token_is_told_where_to_get_which() -> None:
    assert FULL.of(unauthenticated(token_sent=False)) == (
        f'Bearer scope="mcp *:read", resource_metadata="{METADATA}"'
    )


def test_a_client_with_a_bad_token_is_told_so() -> None:
    assert FULL.of(unauthenticated(token_sent=True)) == (
        f'Bearer error="invalid_token", scope="mcp *:read", resource_metadata="{METADATA}"'
    )


def test_a_client_that_needs_more_is_told_what() -> None:
    lacking = InsufficientScopeError("More.", details={"required_scopes": ["mcp"]})
    assert FULL.of(lacking) == (
        f'Bearer error="insufficient_scope", scope="mcp", resource_metadata="{METADATA}"'
    )
    assert Challenges().of(InsufficientScopeError("More.")) == 'Bearer error="insufficient_scope"'


def test_a_server_without_an_authorization_server_only_names_the_scheme() -> None:
    assert Challenges().of(unauthenticated(token_sent=False)) == "Bearer"


@pytest.mark.parametrize(
    "error", [ForbiddenError("No."), NotFoundError("No."), UnavailableError("No.")]
)
def test_other_errors_ask_for_no_credential(error: Exception) -> None:
    assert FULL.of(error) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "metadata"),
    [
        ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
        (
            "https://a.example:8/x/mcp",
            "https://a.example:8/.well-known/oauth-protected-resource/x/mcp",
        ),
    ],
)
def test_the_metadata_is_where_the_standard_puts_it(url: str, metadata: str) -> None:
    assert ProtectedResource(url, ()).metadata_url == metadata


def test_the_metadata_names_resource_issuers_and_scopes() -> None:
    assert RESOURCE.metadata == {
        "resource": "https://mcp.example.com/mcp",
        "authorization_servers": ["https://auth.example.com"],
        "scopes_supported": ["mcp", "*:read"],
        "bearer_methods_supported": ["header"],
    }
