"""Whom a Nexus app's user becomes, and what it may do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import ForbiddenError, UnauthenticatedError
from kailash_mcp_prod.nexus.auth import (
    NexusAuth,
    NexusProvider,
    is_of_this_machine,
    request_scope,
)

HERE: dict[str, Any] = {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "headers": []}


@dataclass
class User:
    user_id: Any = "alice"
    email: str | None = None
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    tenant_id: str | None = None
    provider: str = "local"
    raw_claims: dict[str, Any] = field(default_factory=lambda: {"exp": time.time() + 60})


@dataclass
class Platform:
    has_auth: bool = True


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    before = request_scope.set(None)
    yield
    request_scope.reset(before)


async def who(
    state: Mapping[str, Any] | None = None,
    rules: NexusAuth | None = None,
    *,
    has_auth: bool = True,
    insecure: bool = False,
    **scope: Any,
) -> Principal:
    request_scope.set({**HERE, "state": dict(state or {}), **scope})
    provider = NexusProvider(
        Platform(has_auth),  # type: ignore[arg-type]
        rules or NexusAuth(),
        insecure=insecure,
    )
    found = await provider.authenticate(Credentials())
    assert found is not None
    return found


async def test_a_user_may_do_what_its_token_says_and_nothing_else() -> None:
    found = await who({"user": User(permissions=["nexus:greet"], roles=["admin"])})

    assert found.subject == "nexus:alice"
    assert found.permissions == {"nexus:greet"}
    assert found.roles == {"admin"}
    assert found.expires_at == pytest.approx(time.time() + 60, abs=5)


async def test_rules_add_permissions() -> None:
    rules = NexusAuth(
        roles={"clerk": ["Order:*"]},
        permissions={"read:orders": ["Order:read"]},
        everybody=["monitor:*"],
        api_keys=["*:read"],
    )
    user = User(permissions=["read:orders"], roles=["clerk"])

    found = await who({"user": user, "user_permissions": {"nexus:total"}}, rules)

    assert found.permissions == {
        "read:orders",
        "Order:*",
        "Order:read",
        "monitor:*",
        "nexus:total",
    }


async def test_api_keys_are_callers_of_their_own() -> None:
    state = {
        "user": User(user_id="apikey", raw_claims={}),
        "token_payload": {"type": "api_key"},
    }

    found = await who(state, NexusAuth(api_keys=["*:read"]))

    assert found.subject == "nexus-key:apikey"
    assert found.permissions == {"*:read"}
    assert found.expires_at is None


async def test_users_of_two_providers_are_two() -> None:
    one = await who({"user": User()})
    other = await who({"user": User(provider="azure")})

    assert one.subject != other.subject
    assert one.owner != other.owner


async def test_a_fresh_token_is_the_same_caller() -> None:
    one = await who({"user": User(raw_claims={"exp": time.time() + 5, "iat": 1, "jti": "a"})})
    other = await who({"user": User(raw_claims={"exp": time.time() + 9, "iat": 2, "jti": "b"})})

    assert one.owner == other.owner


@pytest.mark.parametrize("claims", [{}, {"exp": "soon"}, {"exp": True}])
async def test_a_token_has_to_end(claims: dict[str, Any]) -> None:
    with pytest.raises(UnauthenticatedError):
        await who({"user": User(raw_claims=claims)})


async def test_tokens_without_end_may_be_allowed() -> None:
    found = await who({"user": User(raw_claims={})}, NexusAuth(tokens_without_end=True))

    assert found.expires_at is None


@pytest.mark.parametrize("user_id", [None, "", 7])
async def test_a_user_without_a_name_is_nobody(user_id: Any) -> None:
    with pytest.raises(UnauthenticatedError):
        await who({"user": User(user_id=user_id)})


async def test_an_app_that_asks_lets_nobody_in_without_a_user() -> None:
    with pytest.raises(UnauthenticatedError):
        await who()


async def test_outside_of_a_request_nobody_is_known() -> None:
    provider = NexusProvider(Platform(), NexusAuth(), insecure=True)  # type: ignore[arg-type]

    with pytest.raises(UnauthenticatedError):
        await provider.authenticate(Credentials())


async def test_an_app_that_asks_nobody_is_for_its_own_machine() -> None:
    assert await who(has_auth=False) is ANONYMOUS
    with pytest.raises(ForbiddenError):
        await who(has_auth=False, client=("192.0.2.7", 1))
    assert await who(has_auth=False, insecure=True, client=("192.0.2.7", 1)) is ANONYMOUS


@pytest.mark.parametrize(
    "scope",
    [
        {"server": ("192.0.2.1", 80)},
        {"server": ("/run/app.sock", None), "client": None},
        {"server": None},
        {"client": ("192.0.2.1", 1)},
        {"headers": [(b"x-forwarded-for", b"127.0.0.1")]},
        {"headers": [(b"forwarded", b"for=127.0.0.1")]},
    ],
)
def test_what_may_come_from_elsewhere_is_not_of_this_machine(scope: dict[str, Any]) -> None:
    assert is_of_this_machine(HERE)
    assert not is_of_this_machine({**HERE, **scope})
