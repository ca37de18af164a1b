"""API keys: who is known by one."""

from __future__ import annotations

import hashlib

import pytest

from kailash_mcp_prod.auth.api_keys import ApiKey, ApiKeyProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError

KEY = "key-that-nobody-may-read"
KEYS = ApiKeyProvider(
    {KEY: ApiKey("key:sales", frozenset({"Company:read"}), 60), "": ApiKey("x", frozenset())}
)


def bearer(token: str) -> Credentials:
    return Credentials(authorization=f"Bearer {token}")


@pytest.mark.parametrize(
    "credentials",
    [Credentials(api_key=KEY), bearer(KEY), Credentials(authorization=f"bEARER  {KEY} ")],
)
async def test_a_key_is_taken_in_its_header_or_as_a_bearer_token(credentials: Credentials) -> None:
    assert await KEYS.authenticate(credentials) == Principal(
        "key:sales", frozenset({"Company:read"}), "api_key", 60
    )


@pytest.mark.parametrize(
    "key",
    [
        KEY[:-1],
        f"{KEY}x",
        KEY.upper(),
        f" {KEY}",
        "key\udcff",
        hashlib.sha256(KEY.encode()).hexdigest(),
    ],
)
async def test_any_other_key_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(UnauthenticatedError) as error:
        await KEYS.authenticate(Credentials(api_key=key))
    assert key not in str(error.value)


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials(api_key=""),
        bearer(""),
        bearer("something else"),
        Credentials(authorization=KEY),
        Credentials(authorization=f"Basic {KEY}"),
    ],
)
async def test_what_is_no_key_is_left_to_other_providers(credentials: Credentials) -> None:
    assert await KEYS.authenticate(credentials) is None


def test_keys_are_kept_and_looked_up_as_digests_only() -> None:
    assert KEY not in repr(vars(KEYS))
    assert hashlib.sha256(KEY.encode()).digest() in KEYS._principals


def test_credentials_show_no_values() -> None:
    assert KEY not in repr(Credentials(authorization=f"Bearer {KEY}", api_key=KEY))


async def test_a_key_stands_for_its_tenant() -> None:
    keys = ApiKeyProvider(
        {"a": ApiKey("key:a", frozenset(), tenant="acme"), "b": ApiKey("key:b", frozenset())}
    )

    principals = [await keys.authenticate(Credentials(api_key=key)) for key in "ab"]

    assert [each.tenant for each in principals if each is not None] == ["acme", None]


async def test_a_key_may_name_a_surface() -> None:
    keys = ApiKeyProvider(
        {"a": ApiKey("key:a", frozenset(), surface="search"), "b": ApiKey("key:b", frozenset())}
    )

    principals = [await keys.authenticate(Credentials(api_key=key)) for key in "ab"]

    assert [each.surface for each in principals if each is not None] == ["search", None]
