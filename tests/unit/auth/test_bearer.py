"""Opaque tokens from a list."""

from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.bearer import BearerTokenProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal

TOKEN = "token-that-nobody-may-read"
SALES = Principal("bearer:sales", frozenset({"Company:read"}), method="bearer")
TOKENS = BearerTokenProvider({TOKEN: SALES})


async def test_a_listed_token_stands_for_somebody() -> None:
    assert await TOKENS.authenticate(Credentials(f"Bearer {TOKEN}")) is SALES


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials(api_key=TOKEN),
        Credentials(TOKEN),
        Credentials(f"Basic {TOKEN}"),
        Credentials(f"Bearer {TOKEN[:-1]}"),
        Credentials(f"Bearer {TOKEN.upper()}"),
        Credentials("Bearer \udcff"),
    ],
)
async def test_all_else_is_left_to_others(credentials: Credentials) -> None:
    assert await TOKENS.authenticate(credentials) is None


def test_only_digests_are_kept() -> None:
    assert TOKEN not in repr(vars(TOKENS))
