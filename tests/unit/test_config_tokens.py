"""The settings of who is let in: what they refuse, and what they come to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.auth.chain import CredentialChain
from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.configured import (
    configured_challenges,
    configured_principals,
    configured_providers,
)
from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.credentials import ServerCredentials
from kailash_mcp_prod.errors import ConfigError, UnauthenticatedError
from kailash_mcp_prod.state.opening import State
from tests.identity_provider import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    RSA_KEY,
    IdentityProvider,
    issued,
    pem,
)

SECRET = "correct-horse-battery-staple-and-more"
PEM = pem(RSA_KEY)
TOKENS = {"opaque-token-of-the-list": {"agent_id": "sales", "permissions": ["Company:read"]}}
INTROSPECTION = {
    "introspection_url": "https://auth.example.com/introspect",
    "introspection_client_id": "mcp",
    "introspection_client_secret": SECRET,
}
RESOURCE = {"resource_url": AUDIENCE, "authorization_servers": ISSUER}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"JWT_SECRET", "API_KEYS"}:
            monkeypatch.delenv(name)


def load(**flags: Any) -> ServerConfig:
    return ServerConfig.load(flags)


def refusal(**flags: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load(**flags)
    return str(refused.value)


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"jwt_public_key": PEM, "jwt_audience": "a"}, ("jwt",)),
        ({"jwks_url": "https://auth.example.com/keys", "jwt_audience": "a"}, ("jwt",)),
        ({"bearer_tokens": TOKENS}, ("bearer",)),
        (INTROSPECTION, ("bearer",)),
        ({**INTROSPECTION, "jwt_secret": SECRET, "api_keys": TOKENS}, ("jwt", "api_key", "bearer")),
        ({"bearer_tokens": TOKENS, "jwt_secret": SECRET, "auth_type": "bearer"}, ("bearer",)),
        ({"bearer_tokens": TOKENS, "auth_type": "custom,bearer"}, ("custom", "bearer")),
    ],
)
def test_credentials_are_those_configured_unless_types_are_named(
    settings: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    assert load(**settings).credential_kinds == kinds


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"jwt_public_key": PEM}, "jwt_audience"),
        ({"jwks_url": "https://auth.example.com/keys"}, "jwt_audience"),
        ({"jwt_public_key": PEM, "jwt_audience": "a", "jwt_secret": "short"}, "32 bytes"),
        ({"auth_type": "bearer", "jwt_secret": SECRET}, "bearer_tokens or introspection_url"),
        ({**INTROSPECTION, "introspection_client_secret": None}, "introspection_client_secret"),
        ({**INTROSPECTION, "introspection_client_id": None}, "introspection_client_id"),
        ({"bearer_tokens": {"": {}}}, "bearer_tokens: "),
        ({"bearer_tokens": {"t": {"permission": []}}}, "bearer_tokens: "),
        ({"jwt_secret": SECRET, "resource_url": AUDIENCE}, "each other"),
        ({"jwt_secret": SECRET, "authorization_servers": ISSUER}, "each other"),
        ({"jwt_secret": SECRET, "required_scopes": 'a"b'}, "required_scopes"),
        ({"jwt_secret": SECRET, "scopes_supported": ["a b"]}, "scopes_supported"),
        ({"jwt_secret": SECRET, "jwt_leeway_seconds": -1}, "jwt_leeway_seconds"),
        ({"jwt_secret": SECRET, "jwt_leeway_seconds": 3600}, "jwt_leeway_seconds"),
        ({"jwt_secret": SECRET, "introspection_cache_seconds": "inf"}, "introspection_cache"),
    ],
)
def test_what_would_let_in_too_many_or_nobody_is_refused(
    settings: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(**settings)


WRONG_ADDRESSES = [
    *("http://auth.example.com/x", "http://10.0.0.1/x", "ftp://localhost/x", "auth.example.com"),
    *("https://", "https://auth.example.com/x#y", "https://user:pw@auth.example.com/x", ""),
    *('https://auth.example.com/"', "https://auth.example.com/ x", "https://auth.example.com:x/"),
    *("https://auth.example.com/\r\nx", "https://äuth.example.com/", "file:///etc/passwd"),
]


@pytest.mark.parametrize("address", WRONG_ADDRESSES)
def test_secrets_and_clients_are_only_sent_to_good_addresses(address: str) -> None:
    assert refusal(jwks_url=address, jwt_audience="a", auth_type="jwt")
    assert refusal(**{**INTROSPECTION, "introspection_url": address}, auth_type="bearer")
    assert refusal(jwt_secret=SECRET, **{**RESOURCE, "resource_url": address})
    assert refusal(jwt_secret=SECRET, **{**RESOURCE, "authorization_servers": [address]})


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/x"]
)
def test_this_machine_needs_no_https(address: str) -> None:
    assert load(jwks_url=address, jwt_audience="a").jwks_url == address


def test_the_audience_of_an_identity_provider_is_the_resource_unless_it_is_named() -> None:
    keys = {"jwt_public_key": PEM, **RESOURCE}
    assert load(**keys).audiences == (AUDIENCE,)
    assert load(**keys, jwt_audience="a,b").audiences == ("a", "b")
    assert load(**INTROSPECTION, **RESOURCE).audiences == (AUDIENCE,)
    assert load(jwt_secret=SECRET, **RESOURCE).audiences == ()


async def entered(config: ServerConfig, token: str) -> str:
    configured = configured_providers(config)
    try:
        chain = CredentialChain(configured.providers)
        return (await chain.authenticate(Credentials(f"Bearer {token}"))).subject
    finally:
        await configured.close()


async def test_every_configured_kind_is_taken_by_one_chain(tmp_path: Path) -> None:
    file = tmp_path / "issuer.pem"
    file.write_text(PEM + pem(EC_KEY))
    async with IdentityProvider() as idp:
        idp.tokens["opaque"] = {"sub": "carol", "aud": AUDIENCE, "iss": ISSUER}
        config = load(
            api_keys={"a-key-of-somebody": {"agent_id": "ann"}},
            bearer_tokens=TOKENS,
            jwt_public_key=str(file),
            jwks_url=idp.jwks_url,
            jwt_issuer=ISSUER,
            introspection_url=idp.introspection_url,
            introspection_client_id="mcp",
            introspection_client_secret=SECRET,
            **RESOURCE,
        )

        assert await entered(config, "a-key-of-somebody") == "key:ann"
        assert await entered(config, next(iter(TOKENS))) == "bearer:sales"
        assert await entered(config, issued("ES256")) == "idp:alice"
        assert await entered(config, "opaque") == "oauth:carol"
        assert {each.path for each in idp.questions} == {"/introspect"}
        with pytest.raises(UnauthenticatedError):
            await entered(config, issued("EdDSA", kid="unknown"))
        # One that no key is known for may still be a token that only its issuer can read.
        assert [each.path for each in idp.questions[1:]] == ["/jwks", "/introspect"]


@pytest.mark.parametrize("text", ["nowhere.pem", "-----BEGIN NONSENSE-----", "\0"])
def test_a_public_key_that_can_not_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="jwt_public_key"):
        configured_providers(load(jwt_public_key=text, jwt_audience="a"))


@pytest.mark.parametrize(("more", "warned"), [({}, True), (RESOURCE, False)])
async def test_tokens_of_other_services_are_warned_of(
    more: dict[str, str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(**INTROSPECTION, **more)
    credentials = ServerCredentials(config, [], State(lambda: None))
    await credentials.prepare()
    await credentials.close()

    assert ("tokens_of_other_services_are_taken" in caplog.text) == warned


def test_without_authentication_there_are_no_providers() -> None:
    config = load(enable_auth=False, jwt_secret=SECRET, bearer_tokens=TOKENS)
    assert configured_providers(config).providers == []


def test_clients_are_told_what_is_configured() -> None:
    assert configured_challenges(load(jwt_secret=SECRET)) == Challenges()
    told = configured_challenges(
        load(jwt_secret=SECRET, required_scopes="mcp", scopes_supported="mcp,*:read", **RESOURCE)
    )
    assert told.scope == ("mcp",)
    assert told.resource is not None
    assert told.resource.scopes == ("mcp", "*:read")
    open_server = load(enable_auth=False, **RESOURCE)
    assert configured_challenges(open_server).resource is None


def test_keys_and_bearer_tokens_stand_for_callers_of_their_own() -> None:
    key = {"key-of-the-sales-agent": {"agent_id": "sales", "permissions": ["Quote:read"]}}
    config = load(api_keys=key, bearer_tokens=TOKENS)

    of_key, of_token = configured_principals(config)

    assert (of_key.subject, of_key.method) == ("key:sales", "api_key")
    assert of_key.permissions == {"Quote:read"}
    assert (of_token.subject, of_token.method) == ("bearer:sales", "bearer")
    assert of_token.permissions == {"Company:read"}
