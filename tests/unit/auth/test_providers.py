from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.auth.api_keys import ApiKey, ApiKeyProvider
from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.auth.providers import CredentialChain, JwtProvider
from kailash_mcp_prod.errors import UnauthenticatedError

SECRET = "a-secret-of-more-than-thirty-two-bytes"
KEY = "key-that-nobody-may-read"
KEYS = ApiKeyProvider(
    {KEY: ApiKey("key:sales", frozenset({"Company:read"}), 60), "": ApiKey("x", frozenset())}
)
TOKENS = JwtProvider(SECRET)
FAR = 9_999_999_999


def bearer(token: str) -> Credentials:
    return Credentials(authorization=f"Bearer {token}")


def segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(claims: str, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """A token whose parts are any text at all, with a good signature."""
    message = f"{segment(header)}.{segment(claims)}"
    signature = hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).digest()
    return f"{message}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "agent-7", "exp": FAR, **claims}, SECRET, algorithm="HS256")


async def refused(credentials: Credentials) -> str:
    with pytest.raises(UnauthenticatedError) as error:
        await CredentialChain([KEYS, TOKENS]).authenticate(credentials)
    return str(error.value)


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


async def test_a_wrong_key_is_refused_although_a_good_token_came_with_it() -> None:
    await refused(Credentials(authorization=f"Bearer {token()}", api_key="wrong"))


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


@pytest.mark.parametrize("tenant", ["acme", "ä" * 255, " "])
async def test_a_token_names_its_tenant_in_a_claim(tenant: str) -> None:
    by_default = await TOKENS.authenticate(bearer(token(tenant_id=tenant, org="other")))
    by_name = await JwtProvider(SECRET, tenant_claim="org").authenticate(
        bearer(token(tenant_id="other", org=tenant))
    )

    assert by_default is not None
    assert by_name is not None
    assert by_default.tenant == by_name.tenant == tenant


@pytest.mark.parametrize("claim", ["", "x" * 256, None, 7, True, ["acme"], {"id": "acme"}])
async def test_what_is_no_short_text_names_no_tenant(claim: Any) -> None:
    principal = await TOKENS.authenticate(bearer(token(tenant_id=claim)))
    without = await TOKENS.authenticate(bearer(token()))

    assert principal is not None
    assert without is not None
    assert principal.tenant is without.tenant is None


async def test_a_key_stands_for_its_tenant() -> None:
    keys = ApiKeyProvider(
        {"a": ApiKey("key:a", frozenset(), tenant="acme"), "b": ApiKey("key:b", frozenset())}
    )

    principals = [await keys.authenticate(Credentials(api_key=key)) for key in "ab"]

    assert [each.tenant for each in principals if each is not None] == ["acme", None]


async def test_a_key_and_a_token_may_name_a_surface() -> None:
    keys = ApiKeyProvider(
        {"a": ApiKey("key:a", frozenset(), surface="search"), "b": ApiKey("key:b", frozenset())}
    )
    principals = [
        *[await keys.authenticate(Credentials(api_key=key)) for key in "ab"],
        *[
            await TOKENS.authenticate(bearer(token(**claims)))
            for claims in ({"surface": "compact"}, {"surface": ["compact"]}, {})
        ],
    ]

    assert [each.surface for each in principals if each is not None] == [
        *("search", None, "compact", None, None)
    ]


async def test_a_token_tells_who_and_what() -> None:
    principal = await TOKENS.authenticate(bearer(token(permissions=["*:read"], team="sales")))

    assert principal == Principal(
        "jwt:agent-7", frozenset({"*:read"}), "jwt", expires_at=float(FAR)
    )
    assert principal is not None
    assert principal.claims["team"] == "sales"


@pytest.mark.parametrize(
    ("claims", "permissions"),
    [
        ({}, set()),
        ({"permissions": []}, set()),
        ({"permissions": ["a:read", "b:*"]}, {"a:read", "b:*"}),
        ({"scope": "a:read  b:*"}, {"a:read", "b:*"}),
        ({"permissions": ["a:read"], "scope": "*"}, {"a:read"}),
        ({"permissions": [], "scope": "*"}, set()),
        ({"permissions": "*"}, set()),
        ({"permissions": {"*": True}}, set()),
        ({"permissions": [1, None, ["*"], {"*": 1}, "a:read"]}, {"a:read"}),
        ({"scope": ["*"]}, set()),
        ({"scope": 1}, set()),
    ],
)
async def test_permissions_are_a_list_or_a_scope_and_nothing_else_grants(
    claims: dict[str, Any], permissions: set[str]
) -> None:
    principal = await TOKENS.authenticate(bearer(token(**claims)))

    assert principal is not None
    assert principal.permissions == permissions


async def test_an_expired_token_says_so() -> None:
    assert "expired" in await refused(bearer(token(exp=int(time.time()) - 1)))


@pytest.mark.parametrize(
    "claims",
    [
        '{"sub":"a"}',
        f'{{"exp":{FAR}}}',
        f'{{"sub":null,"exp":{FAR}}}',
        f'{{"sub":"","exp":{FAR}}}',
        f'{{"sub":7,"exp":{FAR}}}',
        f'{{"sub":["a"],"exp":{FAR}}}',
        f'{{"sub":{{"a":1}},"exp":{FAR}}}',
        '{"sub":"a","exp":null}',
        '{"sub":"a","exp":"x"}',
        '{"sub":"a","exp":""}',
        f'{{"sub":"a","exp":"{FAR}"}}',
        f'{{"sub":" ","exp":{FAR}}}',
        '{"sub":"a","exp":[9999999999]}',
        '{"sub":"a","exp":{}}',
        '{"sub":"a","exp":NaN}',
        '{"sub":"a","exp":Infinity}',
        '{"sub":"a","exp":1e400}',
        '{"sub":"a","exp":-1e400}',
        f'{{"sub":"a","exp":1{"0" * 400}}}',
        f'{{"sub":"a","exp":1{"0" * 5000}}}',
        f'{{"sub":"a","exp":{FAR},"nbf":{FAR - 1}}}',
        f'{{"sub":"a","exp":{FAR},"nbf":"x"}}',
        f'{{"sub":"a","exp":{FAR},"nbf":1e400}}',
        f'{{"sub":"a","exp":{FAR},"iat":[1]}}',
        f'{{"sub":"a","exp":{FAR},"x":{"[" * 20_000}}}',
        "[]",
        '"a"',
        "null",
        "no json",
        "",
    ],
)
async def test_odd_claims_are_refused_in_spite_of_a_good_signature(claims: str) -> None:
    assert "not valid" in await refused(bearer(signed(claims)))


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"none"}',
        '{"alg":"None"}',
        '{"alg":""}',
        '{"alg":null}',
        '{"alg":"HS512"}',
        '{"alg":"RS256"}',
        '{"alg":["HS256"]}',
        '{"alg":{"HS256":1}}',
        '{"alg":"HS256","kid":7}',
        '{"alg":"HS256","crit":["exp"]}',
        '{"alg":"HS256","b64":false}',
        f'{{"alg":"HS256","x":1{"0" * 5000}}}',
        "{}",
        "[]",
        "[" * 20_000,
        "no json",
        "",
    ],
)
async def test_odd_headers_are_refused(header: str) -> None:
    assert "not valid" in await refused(bearer(signed(f'{{"sub":"a","exp":{FAR}}}', header)))


async def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode({"sub": "a", "exp": FAR}, None, algorithm="none")

    await refused(bearer(unsigned))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_another_algorithm_with_the_right_secret_is_refused(algorithm: str) -> None:
    secret = SECRET * 2
    other = jwt.encode({"sub": "a", "exp": FAR}, secret, algorithm=algorithm)

    with pytest.raises(UnauthenticatedError):
        await JwtProvider(secret).authenticate(bearer(other))


async def test_another_secret_is_refused() -> None:
    await refused(bearer(jwt.encode({"sub": "a", "exp": FAR}, SECRET + "x", algorithm="HS256")))


async def test_a_changed_token_is_refused() -> None:
    header, _, signature = token().split(".")
    forged = segment(json.dumps({"sub": "admin", "exp": FAR, "permissions": ["*"]}))

    await refused(bearer(f"{header}.{forged}.{signature}"))


@pytest.mark.parametrize(
    "text", ["..", "a.b.c", "é.é.é", "\udcff.a.b", "a.b.", f"{'a' * 9}.{'=' * 9}.c", "a b.c.d"]
)
async def test_what_only_looks_like_a_token_is_refused(text: str) -> None:
    await refused(bearer(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["exp", "sub", "nbf", "iat", "jti", "iss", "aud", "permissions", "scope"]),
)
async def test_any_claim_ends_as_a_principal_or_a_refusal(value: Any, claim: str) -> None:
    claims = json.dumps({"sub": "a", "exp": FAR, claim: value})
    try:
        principal = await TOKENS.authenticate(bearer(signed(claims)))
    except UnauthenticatedError:
        return

    assert principal is not None
    assert principal.subject.startswith("jwt:")
    assert all(isinstance(each, str) for each in principal.permissions)
    hash(principal)


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


@pytest.mark.parametrize("credentials", [Credentials(), bearer("unknown"), bearer("a.b.c.d")])
async def test_nobody_comes_in_without_a_known_credential(credentials: Credentials) -> None:
    assert "X-API-Key" in await refused(credentials)


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
