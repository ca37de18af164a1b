"""Several kinds of credentials behind one authenticator."""

from __future__ import annotations

import time
from dataclasses import replace

import jwt
import pytest

from kailash_mcp_prod.auth.api_keys import ApiKey, ApiKeyProvider
from kailash_mcp_prod.auth.chain import NOT_VALID, CredentialChain
from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.auth.signing_keys import FixedKeys, shared_key
from kailash_mcp_prod.errors import UnauthenticatedError

SECRET = "a-secret-of-more-than-thirty-two-bytes"
KEY = "key-that-nobody-may-read"
KEYS = ApiKeyProvider({KEY: ApiKey("key:sales", frozenset({"Company:read"}), 60)})
TOKENS = JwtProvider([("jwt", FixedKeys([shared_key(SECRET)]))])


def bearer(token: str) -> Credentials:
    return Credentials(authorization=f"Bearer {token}")


def token() -> str:
    return jwt.encode({"sub": "agent-7", "exp": 9_999_999_999}, SECRET, algorithm="HS256")


async def refused(credentials: Credentials) -> UnauthenticatedError:
    with pytest.raises(UnauthenticatedError) as error:
        await CredentialChain([KEYS, TOKENS]).authenticate(credentials)
    return error.value


async def test_a_wrong_key_is_refused_although_a_good_token_came_with_it() -> None:
    await refused(Credentials(authorization=f"Bearer {token()}", api_key="wrong"))


class Fixed:
    """A provider that knows everybody as one principal."""

    def __init__(self, principal: Principal | None) -> None:
        self.principal = principal

    async def authenticate(self, _credentials: Credentials) -> Principal | None:
        return self.principal


async def test_a_server_without_providers_lets_everybody_in() -> None:
    assert await CredentialChain([]).authenticate(bearer("anything")) == ANONYMOUS


async def test_the_first_provider_that_knows_a_credential_decides() -> None:
    first, second = Principal("first", frozenset()), Principal("second", frozenset())

    chain = CredentialChain([Fixed(None), Fixed(first), Fixed(second)])

    assert await chain.authenticate(Credentials()) == first


async def test_keys_and_tokens_work_side_by_side() -> None:
    chain = CredentialChain([KEYS, TOKENS])

    assert (await chain.authenticate(bearer(KEY))).method == "api_key"
    assert (await chain.authenticate(bearer(token()))).method == "jwt"


@pytest.mark.parametrize("wrong", ["unknown", "a.b.c", "a.b.c.d", f"{token()}x", "é"])
async def test_all_that_is_said_of_a_wrong_token_is_that_it_is_wrong(wrong: str) -> None:
    error = await refused(bearer(wrong))

    assert (error.message, error.token_sent) == (NOT_VALID, True)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Negotiate"]
)
async def test_nobody_comes_in_without_a_credential(authorization: str | None) -> None:
    error = await refused(Credentials(authorization))

    assert "X-API-Key" in error.message
    assert not error.token_sent


async def test_a_wrong_key_is_no_wrong_token() -> None:
    assert not (await refused(Credentials(api_key="wrong"))).token_sent


async def test_a_principal_of_any_provider_expires() -> None:
    principal = Principal("p", frozenset(), expires_at=time.time() - 1)

    with pytest.raises(UnauthenticatedError, match="expired"):
        await CredentialChain([Fixed(principal)]).authenticate(Credentials())

    lasting = replace(principal, expires_at=time.time() + 60)
    assert await CredentialChain([Fixed(lasting)]).authenticate(Credentials()) == lasting


async def test_a_key_and_a_token_of_the_same_name_are_two_callers() -> None:
    keys = ApiKeyProvider({KEY: ApiKey("key:agent-7", frozenset())})
    chain = CredentialChain([keys, TOKENS])

    one = await chain.authenticate(bearer(KEY))
    other = await chain.authenticate(bearer(token()))

    assert one.subject != other.subject
