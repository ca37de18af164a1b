"""The keys of an identity provider that runs, that is slow, that lies and that is gone."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kailash_mcp_prod.auth.chain import CredentialChain
from kailash_mcp_prod.auth.idp_client import IdpClient
from kailash_mcp_prod.auth.jwks import MAX_BYTES, JwksKeys
from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.signing_keys import FixedKeys, shared_key
from kailash_mcp_prod.auth.token_claims import TokenRules
from kailash_mcp_prod.errors import UnauthenticatedError, UnavailableError
from tests.identity_provider import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    RSA_KEY,
    IdentityProvider,
    issued,
    jwk,
    pem,
)

SECONDS = 5


class Site:
    """A chain that trusts a provider, and a clock."""

    def __init__(self, idp: IdentityProvider, seconds: float = SECONDS) -> None:
        self.now = 1000.0
        self.idp = idp
        self.jwks = JwksKeys(
            IdpClient(idp.jwks_url, max_bytes=MAX_BYTES, seconds=seconds),
            fresh_seconds=300,
            stale_seconds=3600,
            clock=lambda: self.now,
        )
        self.chain = CredentialChain(
            [JwtProvider([("idp", self.jwks)], TokenRules(ISSUER, (AUDIENCE,)))]
        )

    async def enter(self, *args: Any, **claims: Any) -> Principal:
        credentials = Credentials(f"Bearer {issued(*args, **claims)}")
        async with asyncio.timeout(SECONDS):
            return await self.chain.authenticate(credentials)

    async def refused(self, *args: Any, **claims: Any) -> None:
        with pytest.raises(UnauthenticatedError):
            await self.enter(*args, **claims)

    async def fetched(self) -> None:
        """Wait for a fetch in the background."""
        while self.jwks._fetching is not None:
            await asyncio.wait({self.jwks._fetching})

    @property
    def fetches(self) -> int:
        return len(self.idp.questions)


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Site]:
    async with IdentityProvider() as idp:
        site = Site(idp, **options)
        try:
            yield site
        finally:
            await site.jwks.close()


async def test_keys_are_fetched_once_and_used_for_all_tokens() -> None:
    async with served() as site:
        site.idp.keys = [jwk("RS256", "one"), jwk("ES256", "two"), jwk("EdDSA")]
        callers = await asyncio.gather(
            site.enter(),
            site.enter("ES256", kid="two", sub="bob"),
            site.enter("EdDSA", kid="any"),
            site.enter("RS256", kid=None),
        )

        assert [each.subject for each in callers] == [
            *("idp:alice", "idp:bob", "idp:alice", "idp:alice")
        ]
        assert site.fetches == 1
        assert site.idp.questions[0].method == "GET"


async def test_a_new_key_is_found_and_an_old_one_forgotten() -> None:
    async with served() as site:
        assert await site.enter()
        site.idp.keys = [jwk("ES256", "two")]
        await site.refused("ES256", kid="two")
        assert site.fetches == 1

        site.now += 30
        assert await site.enter("ES256", kid="two")
        assert site.fetches == 2
        # Although it was verified, and remembered.
        await site.refused()


async def test_made_up_key_ids_neither_flood_the_provider_nor_delay_others() -> None:
    async with served() as site:
        assert await site.enter()
        site.now += 31
        site.idp.open.clear()
        strangers = [
            asyncio.create_task(site.refused("RS256", kid=f"x{number}")) for number in range(300)
        ]
        site.idp.asked.clear()
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)

        assert await site.enter(sub="bob")
        assert site.fetches == 2
        # More than may wait for the provider are refused at once.
        for _, refused in zip(range(200), asyncio.as_completed(strangers), strict=False):
            await refused
        assert sum(each.done() for each in strangers) == 200
        site.idp.open.set()
        await asyncio.gather(*strangers)
        await asyncio.gather(*(site.refused("RS256", kid=f"y{number}") for number in range(100)))
        assert site.fetches == 2


async def test_old_keys_are_renewed_in_the_background() -> None:
    async with served() as site:
        assert await site.enter()
        site.now += 301
        site.idp.open.clear()
        assert await site.enter()
        assert await site.enter(sub="bob")
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        site.idp.open.set()
        await site.fetched()

        assert site.fetches == 2
        assert await site.enter()


async def test_stale_keys_are_used_for_a_while_when_the_provider_is_gone() -> None:
    async with served() as site:
        assert await site.enter()
        site.idp.status = 500
        for _ in range(20):
            site.now += 170
            assert await site.enter()
            await site.fetched()

        site.now += 300
        with pytest.raises(UnavailableError) as unavailable:
            await site.enter()
        assert (unavailable.value.retry_after_seconds or 0) >= 1
        assert site.fetches < 30

        site.idp.status = 200
        site.now += 31
        assert await site.enter()


async def test_a_provider_that_was_never_there_is_left_alone_between_attempts() -> None:
    async with served() as site:
        site.idp.status = 503
        for _ in range(10):
            with pytest.raises(UnavailableError):
                await site.enter()
        assert site.fetches == 1

        site.idp.status = 200
        site.now += 1
        assert await site.enter()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, "", b""),
        (200, "", b'{"keys": []}'),
        (200, "", b"{" + b" " * MAX_BYTES + b"}"),
        (302, "Location: http://127.0.0.1:1/jwks\r\n", b""),
        (204, "", b""),
    ],
)
async def test_an_answer_that_is_no_key_set_counts_as_none(
    status: int, headers: str, body: bytes
) -> None:
    async with served() as site:
        site.idp.status, site.idp.headers, site.idp.reply = status, headers, lambda: body
        with pytest.raises(UnavailableError):
            await site.enter()
        assert site.fetches == 1


async def test_a_provider_that_does_not_answer_holds_nobody_up_for_long() -> None:
    async with served(seconds=0.2) as site:
        site.idp.open.clear()
        with pytest.raises(UnavailableError):
            await site.enter()


async def test_a_caller_that_leaves_takes_no_fetch_with_it() -> None:
    async with served() as site:
        site.idp.open.clear()
        leaving, staying = (asyncio.create_task(site.enter()) for _ in "12")
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert leaving.cancelled()
        site.idp.open.set()

        assert (await staying).subject == "idp:alice"
        assert site.fetches == 1


async def test_a_token_of_an_algorithm_that_no_key_set_has_is_asked_about_nowhere() -> None:
    async with served() as site:
        await site.refused("HS256", key="x" * 40)
        assert site.fetches == 0


PUBLIC = RSA_KEY.public_key()
PUBLIC_TEXTS = {
    "pem": pem(RSA_KEY).encode(),
    "pem without its last line break": pem(RSA_KEY).strip().encode(),
    "pkcs1": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "der": PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "jwk": json.dumps(jwk("RS256", "one")).encode(),
    "compact jwk": json.dumps(jwk("RS256", "one"), separators=(",", ":")).encode(),
    "key set": json.dumps({"keys": [jwk("RS256", "one")]}).encode(),
    "modulus": jwk("RS256")["n"].encode(),
    "decoded modulus": PUBLIC.public_numbers().n.to_bytes(256, "big"),
    "nothing": b"",
}


@pytest.mark.parametrize("secret", PUBLIC_TEXTS)
async def test_no_form_of_a_public_key_is_a_secret(secret: str) -> None:
    async with served() as site:
        own = FixedKeys([shared_key("a-secret-of-more-than-thirty-two-bytes")])
        provider = JwtProvider([("jwt", own), ("idp", site.jwks)], TokenRules(ISSUER, (AUDIENCE,)))
        chain = CredentialChain([provider])
        _, claims, _ = issued().split(".")
        for algorithm in ("HS256", "HS512", "RS256", "none", "None"):
            digest = "sha512" if algorithm == "HS512" else "sha256"
            header = json.dumps({"alg": algorithm, "typ": "JWT", "kid": "one"}).encode()
            message = f"{_segment(header)}.{claims}"
            mac = _segment(hmac.digest(PUBLIC_TEXTS[secret], message.encode(), digest))
            for forged in (f"{message}.{mac}", f"{message}."):
                with pytest.raises(UnauthenticatedError):
                    await chain.authenticate(Credentials(f"Bearer {forged}"))


def _segment(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["PS256", "PS512", "RS384", "RS512"])
@pytest.mark.parametrize("said", [{}, {"alg": "RS256"}, {"alg": "PS256"}, {"use": "sig"}])
async def test_a_key_signs_in_one_way_alone(algorithm: str, said: dict[str, str]) -> None:
    """A good signature of another kind, by the very key, whatever the key set says of it."""
    async with served() as site:
        site.idp.keys = [jwk("RS256", "one", **said)]
        await site.refused(algorithm, key=RSA_KEY)


async def test_a_secret_in_a_key_set_signs_nothing() -> None:
    secret = b"a-secret-of-more-than-thirty-two-bytes"
    entry = {"kty": "oct", "kid": "one", "alg": "HS256", "k": _segment(secret)}
    async with served() as site:
        for keys in ([entry], [entry, jwk("RS256", "one")]):
            site.idp.keys = keys
            site.now += 5_000
            await site.refused("HS256", key=secret)


async def test_a_key_of_another_kind_with_the_same_id_is_not_used() -> None:
    async with served() as site:
        site.idp.keys = [jwk("EdDSA", "one"), jwk("RS256", "other")]
        await site.refused("ES256", kid="one", key=EC_KEY)
        await site.refused("RS256", kid="one")
        assert await site.enter("RS256", kid="other")


async def test_closing_ends_a_fetch_and_a_later_one_works() -> None:
    async with served() as site:
        site.idp.open.clear()
        waiting = asyncio.create_task(site.enter())
        await asyncio.wait_for(site.idp.asked.wait(), SECONDS)
        await site.jwks.close()
        with pytest.raises(UnavailableError):
            await waiting
        site.idp.open.set()

        assert await site.enter()
