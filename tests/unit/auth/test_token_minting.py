from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.auth.signing_keys import FixedKeys, shared_key
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules
from kailash_mcp_prod.auth.token_minting import TokenGrants, inspect_token, mint_token
from kailash_mcp_prod.errors import InvalidArgumentsError

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    given = {"sub": "a", "exp": time.time() + 60, **claims}
    return jwt.encode({name: each for name, each in given.items() if each}, secret, algorithm)


async def test_a_minted_token_is_taken_and_says_what_it_was_made_for() -> None:
    grants = TokenGrants(
        *("nightly", ("Company:*",), ("clerk",), "north", "org", "compact", True),
        claims={"team": {"id": 7}},
    )
    token = mint_token(SECRET, grants, 3600)
    principal = await JwtProvider(
        [("jwt", FixedKeys([shared_key(SECRET)]))], reader=ClaimReader("org")
    ).authenticate(Credentials(authorization=f"Bearer {token.text}"))

    assert principal is not None
    assert (principal.subject, principal.tenant, principal.surface) == (
        *("jwt:nightly", "north"),
        "compact",
    )
    assert principal.permissions == {"Company:*"}
    assert principal.claims["roles"] == ["clerk"]
    assert principal.claims["read_only"] is True
    assert principal.claims["team"] == {"id": 7}
    assert token.claims["exp"] - token.claims["iat"] == 3600
    assert token.text not in repr(token)


async def test_a_minted_token_has_what_a_server_asks_of_all_tokens() -> None:
    grants = TokenGrants(
        *("a", (), ("clerk",)),
        roles_claim="groups",
        issuer="https://auth.example.com",
        audience=("https://mcp.example.com/mcp",),
        scope=("mcp", "Company:read"),
    )
    provider = JwtProvider(
        [("jwt", FixedKeys([shared_key(SECRET)]))],
        TokenRules("https://auth.example.com", ("https://mcp.example.com/mcp",)),
        ClaimReader(roles_claim="groups", required_scopes=("mcp", "Company:read")),
    )
    principal = await provider.authenticate(
        Credentials(authorization=f"Bearer {mint_token(SECRET, grants, 60).text}")
    )

    assert principal is not None
    assert (principal.permissions, principal.roles) == (frozenset(), {"clerk"})


def test_each_token_has_an_id_of_its_own_and_only_what_was_asked_for() -> None:
    tokens = [mint_token(SECRET, TokenGrants("a", ("*",)), 60) for _ in range(20)]

    assert len({each.claims["jti"] for each in tokens}) == 20
    assert set(tokens[0].claims) == {"sub", "jti", "iat", "exp", "permissions"}


@pytest.mark.parametrize("name", ["sub", "exp", "jti", "permissions", "scope", "aud", "org"])
def test_a_further_claim_takes_the_place_of_none_that_means_something(name: str) -> None:
    grants = TokenGrants("a", ("*",), tenant_claim="org", claims={name: "x"})
    with pytest.raises(InvalidArgumentsError, match=name):
        mint_token(SECRET, grants, 60)


def test_a_token_fits_into_a_header() -> None:
    with pytest.raises(InvalidArgumentsError, match="longer"):
        mint_token(SECRET, TokenGrants("a", ("*",), claims={"x": "y" * 9000}), 60)


@pytest.mark.parametrize(
    ("made", "verified", "problem"),
    [
        ({}, True, None),
        ({"exp": 1}, True, "expired"),
        ({"nbf": 9_999_999_999}, True, "not valid yet"),
        ({"exp": None}, True, "exp is missing"),
        ({"sub": None}, True, "sub is missing"),
        ({"sub": 7}, True, "a claim"),
        ({"secret": SECRET + "x"}, False, "not signed with JWT_SECRET"),
        ({"secret": SECRET * 2, "algorithm": "HS512"}, False, "HS256"),
        ({"secret": "", "algorithm": "none"}, False, "HS256"),
    ],
)
def test_what_is_wrong_with_a_token_is_said(
    made: dict[str, Any], verified: bool, problem: str | None
) -> None:
    report = inspect_token(signed(**made), SECRET)

    assert report.verified is verified
    assert (report.problem is None) if problem is None else (problem in (report.problem or ""))


def test_issuer_and_audience_are_checked_where_they_are_set() -> None:
    token = signed(iss="us", aud=["one", "two"])

    assert inspect_token(token, SECRET, issuer="us", audience=["two"]).problem is None
    assert inspect_token(token, SECRET).problem is None
    assert "iss" in (inspect_token(token, SECRET, issuer="them").problem or "")
    assert "aud" in (inspect_token(token, SECRET, audience=["three"]).problem or "")
    assert "iss" in (inspect_token(signed(), SECRET, issuer="us").problem or "")
    assert "aud" in (inspect_token(signed(), SECRET, audience=["one"]).problem or "")


def test_without_the_secret_nothing_is_known_to_be_true() -> None:
    report = inspect_token(signed(jti="x"), None)

    assert (report.verified, report.jti) == (False, "x")
    assert "JWT_SECRET" in (report.problem or "")


@pytest.mark.parametrize("text", ["", "a.b.c", "é.é.é", "x" * 10_000, "e30.W10.x"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentsError):
        inspect_token(text, SECRET)


@pytest.mark.parametrize("jti", ["x" * 256, 7, ["x"]])
def test_not_every_jti_can_be_revoked(jti: Any) -> None:
    token = jwt.encode({"sub": "a", "jti": jti if isinstance(jti, str) else str(jti)}, SECRET)
    assert (inspect_token(token, SECRET).jti is None) is (len(str(jti)) > 255)
