"""Opaque tokens that an identity provider is asked about."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kailash_mcp_prod.auth.chain import CredentialChain
from kailash_mcp_prod.auth.idp_client import IdpClient
from kailash_mcp_prod.auth.introspection import MAX_BYTES, IntrospectionProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules
from kailash_mcp_prod.errors import InsufficientScopeError, UnauthenticatedError, UnavailableError
from tests.identity_provider import AUDIENCE, ISSUER, IdentityProvider

SECONDS = 5
ID, SECRET = "mcp server", "se:cret/+é"


class Site:
    """A chain that asks a provider, and a clock."""

    def __init__(self, idp: IdentityProvider, seconds: float = SECONDS, **options: Any) -> None:
        self.now = time.time()
        self.idp = idp
        self.provider = IntrospectionProvider(
            IdpClient(
                idp.introspection_url, max_bytes=MAX_BYTES, max_connections=16, seconds=seconds
            ),
            ID,
            SECRET,
            clock=lambda: self.now,
            **options,
        )
        self.chain = CredentialChain([self.provider])

    async def enter(self, token: str = "opaque") -> Principal:
        async with asyncio.timeout(SECONDS):
            return await self.chain.authenticate(Credentials(f"Bearer {token}"))

    async def refused(self, token: str = "opaque") -> None:
        with pytest.raises(UnauthenticatedError):
            await self.enter(token)

    async def unavailable(self, token: str = "opaque") -> float:
        with pytest.raises(UnavailableError) as error:
            await self.enter(token)
        assert error.value.retry_after_seconds is not None
        return error.value.retry_after_seconds

    @property
    def asked(self) -> list[str]:
        return [each.token for each in self.idp.questions]


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Site]:
    async with IdentityProvider() as idp:
        idp.tokens = {"opaque": {"sub": "alice", "scope": "Company:read *:list"}}
        site = Site(idp, **options)
        try:
            yield site
        finally:
            await site.provider.close()


async def test_the_provider_says_who_and_what() -> None:
    async with served() as site:
        site.idp.tokens["opaque"] |= {
            "exp": int(site.now) + 60,
            "tenant_id": "acme",
            "roles": ["boss"],
            "surface": "compact",
        }
        principal = await site.enter()

        assert (principal.subject, principal.method) == ("oauth:alice", "bearer")
        assert principal.permissions == {"Company:read", "*:list"}
        assert (principal.tenant, principal.surface) == ("acme", "compact")
        assert principal.roles == {"boss"}
        assert principal.expires_at == int(site.now) + 60
        [question] = site.idp.questions
        assert question.method == "POST"
        pair = base64.b64decode(question.headers["authorization"].removeprefix("Basic "))
        assert pair.decode() == "mcp+server:se%3Acret%2F%2B%C3%A9"


async def test_a_token_of_a_client_itself_is_another_caller_than_a_person() -> None:
    async with served() as site:
        site.idp.tokens = {"c": {"client_id": "alice"}, "p": {"sub": "alice", "client_id": "app"}}
        assert (await site.enter("c")).subject == "oauth-client:alice"
        assert (await site.enter("p")).subject == "oauth:alice"


async def test_answers_are_used_for_a_while_and_until_the_token_ends() -> None:
    async with served(remembered_seconds=60) as site:
        site.idp.tokens["short"] = {"sub": "bob", "exp": site.now + 20}
        for _ in range(3):
            await site.enter()
            await site.enter("short")
            await site.refused("wrong")
        assert site.asked == ["opaque", "short", "wrong"]

        site.now += 11
        await site.refused("wrong")
        await site.enter("short")
        assert site.asked[3:] == ["wrong"]
        site.now += 10
        await site.refused("short")
        await site.enter()
        assert site.asked[4:] == ["short"]
        site.now += 60
        del site.idp.tokens["opaque"]
        await site.refused()


async def test_nothing_is_remembered_when_that_is_wanted() -> None:
    async with served(remembered_seconds=0) as site:
        for _ in range(3):
            await site.enter()
        assert len(site.asked) == 3


async def test_made_up_tokens_drive_no_good_one_out() -> None:
    async with served(remembered=5) as site:
        await site.enter()
        for number in range(20):
            await site.refused(f"x{number}")
        await site.enter()

        assert site.asked.count("opaque") == 1
        assert len(site.provider._bad) == 5


async def test_the_same_token_is_asked_about_once_at_a_time() -> None:
    async with served() as site:
        site.idp.open.clear()
        callers = [asyncio.create_task(site.enter()) for _ in range(50)]
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        callers[0].cancel()
        site.idp.open.set()
        done = await asyncio.gather(*callers, return_exceptions=True)

        assert isinstance(done[0], asyncio.CancelledError)
        assert {each.subject for each in done[1:] if isinstance(each, Principal)} == {"oauth:alice"}
        assert site.asked == ["opaque"]


async def test_only_so_many_questions_are_under_way() -> None:
    async with served() as site:
        site.idp.open.clear()
        waiting = [asyncio.create_task(site.refused(f"x{number}")) for number in range(64)]
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        assert await site.unavailable("one-more") >= 1
        site.idp.open.set()
        await asyncio.gather(*waiting)
        await site.enter()


async def test_made_up_tokens_keep_none_out_that_was_good_before() -> None:
    async with served() as site:
        await site.enter()
        site.now += 61
        site.idp.open.clear()
        waiting = [asyncio.create_task(site.refused(f"x{number}")) for number in range(64)]
        site.idp.asked.clear()
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        known = asyncio.create_task(site.enter())
        assert await site.unavailable("one-more") >= 1
        site.idp.open.set()

        assert (await known).subject == "oauth:alice"
        await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    "claims",
    [
        {"active": False},
        {"sub": None},
        {"sub": ""},
        {"sub": " "},
        {"sub": 7},
        {"sub": ["alice"]},
        {"exp": 1},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": None},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": 9_999_999_999},
        {"nbf": "0"},
        {"iss": "https://other.example.com"},
        {"iss": None},
        {"aud": "https://other.example.com"},
        {"aud": None},
        {"aud": {AUDIENCE: 1}},
    ],
)
async def test_a_token_that_is_not_as_it_must_be_is_refused(claims: dict[str, Any]) -> None:
    async with served(rules=TokenRules(ISSUER, (AUDIENCE,))) as site:
        good = {"sub": "alice", "iss": ISSUER, "aud": ["x", AUDIENCE], "exp": site.now + 60}
        site.idp.tokens = {"good": good, "bad": {**good, **claims}}

        assert await site.enter("good")
        await site.refused("bad")


async def test_a_token_without_a_scope_that_all_need_is_told_so() -> None:
    async with served(reader=ClaimReader(required_scopes=("mcp",))) as site:
        for _ in "12":
            with pytest.raises(InsufficientScopeError) as lacking:
                await site.enter()
            assert lacking.value.scope == ("mcp",)
        assert site.asked == ["opaque"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (401, b'{"error": "invalid_client"}'),
        (302, b""),
        (200, b""),
        (200, b"{"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"active": "true", "sub": "alice"}'),
        (200, b'{"active": true, "sub": "' + b"a" * MAX_BYTES + b'"}'),
    ],
)
async def test_a_provider_that_makes_no_sense_makes_nobody_good_or_bad(
    status: int, body: bytes
) -> None:
    async with served() as site:
        site.idp.status, site.idp.reply = status, lambda: body
        assert await site.unavailable() >= 1
        site.idp.status, site.idp.reply = 200, None
        assert await site.enter()


async def test_a_sick_provider_is_left_alone_and_remembered_answers_go_on() -> None:
    async with served(seconds=0.2) as site:
        await site.enter()
        site.idp.open.clear()
        for number in range(3):
            await site.unavailable(f"x{number}")
        asked = len(site.asked)
        for number in range(20):
            await site.unavailable(f"y{number}")

        assert len(site.asked) == asked
        await site.enter()


async def test_a_provider_that_answers_odd_tokens_with_an_error_is_not_taken_for_sick() -> None:
    async with served() as site:
        site.idp.status = 400
        for number in range(10):
            await site.refused(f"odd{number}")
        site.idp.status = 200

        await site.enter()
        await site.refused("odd0")
        assert site.asked.count("odd0") == 1


async def test_a_token_that_no_provider_could_have_issued_is_not_sent() -> None:
    async with served() as site:
        for token in ("é", "x" * 10_000, "a b", "a&token=b", "a\r\nb", "=", "a=b"):
            await site.refused(token)
        assert site.asked == []


async def test_closing_ends_questions_and_later_ones_work() -> None:
    async with served() as site:
        site.idp.open.clear()
        waiting = asyncio.create_task(site.unavailable())
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        await site.provider.close()
        await waiting
        site.idp.open.set()

        assert await site.enter()


async def test_no_log_line_has_a_token_or_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with served() as site:
        site.idp.tokens["very-secret-token"] = {"sub": "alice"}
        await site.enter("very-secret-token")
        await site.refused("wrong-secret-token")
        site.idp.status = 500
        await site.unavailable("another-secret-token")
        [authorization] = {each.headers["authorization"] for each in site.idp.questions}

    assert "introspection_failed" in caplog.text
    for secret in ("secret-token", SECRET, authorization.removeprefix("Basic ")):
        assert secret not in caplog.text
