from __future__ import annotations

import hashlib

import pytest

from kailash_mcp_prod.auth.api_keys import (
    ApiKey,
    ApiKeyProvider,
    is_weak,
    mint_key,
    minted_id,
    subject_of_key,
)
from kailash_mcp_prod.auth.configured_keys import configured_keys
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.config_values import read_keys
from kailash_mcp_prod.errors import UnauthenticatedError

KEY = "key-that-nobody-may-read"
GOOD_FORM = f"kmp_0123456789abcdef_{'Ab1-' * 10}x_z"
HASHED = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
SALES = Principal("kmp:sales", frozenset({"*:read"}), "api_key")


class Minted:
    """Knows one key, and counts how often it is asked."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.asked = 0

    async def find(self, key: str) -> Principal | None:
        self.asked += 1
        return SALES if key == self.key else None


@pytest.mark.parametrize("written", [KEY, HASHED, HASHED.replace("a", "A").replace("shA", "sha")])
async def test_a_key_may_be_configured_in_either_form(written: str) -> None:
    provider = ApiKeyProvider({written: ApiKey("key:a", frozenset())})

    found = await provider.authenticate(Credentials(api_key=KEY))

    assert found is not None
    assert found.subject == "key:a"
    with pytest.raises(UnauthenticatedError):
        await provider.authenticate(Credentials(api_key=HASHED))


def test_the_same_key_in_two_forms_is_the_same_caller() -> None:
    assert subject_of_key(KEY, None) == subject_of_key(HASHED, None)
    assert subject_of_key(KEY, None) != subject_of_key(f"{KEY}x", None)
    assert subject_of_key(KEY, "a") == subject_of_key("other", "a") == "key:a"


def test_the_order_of_keys_does_not_say_who_calls() -> None:
    one, other = {f"{KEY}1": {}}, {f"{KEY}2": {}}

    forth = configured_keys(read_keys({**one, **other}))
    back = configured_keys(read_keys({**other, **one}))

    assert forth == back
    assert len({each.subject for each in forth.values()}) == 2


def test_an_entry_says_all_that_a_key_stands_for() -> None:
    [key] = configured_keys(
        read_keys(
            {
                KEY: {
                    "agent_id": "a",
                    "tenant_id": "t",
                    "permissions": ["*:read"],
                    "roles": ["clerk"],
                    "read_only": True,
                    "rate_limit": 7,
                    "surface": "search",
                    "claims": {"team": "x"},
                    "expires_at": "2040-01-01T01:00:00+01:00",
                }
            }
        )
    ).values()
    principal = key.principal("key:1")

    assert principal == Principal(
        *("key:a", frozenset({"*:read"}), "api_key", 7, 2_208_988_800.0, "t", "search"),
        roles=frozenset({"clerk"}),
        read_only=True,
    )
    assert dict(principal.claims) == {"team": "x"}
    assert principal.credential_id == "key:1"


def test_a_minted_key_has_256_random_bits_and_shows_itself_nowhere() -> None:
    keys = [mint_key() for _ in range(100)]

    assert len({each.text for each in keys}) == len({each.id for each in keys}) == 100
    for each in keys:
        assert minted_id(each.text) == each.id
        assert len(each.text.split("_", 2)[2]) == 43
        assert each.text not in repr(each)
        assert each.digest == hashlib.sha256(each.text.encode()).hexdigest()


@pytest.mark.parametrize("key", ["", "kmp_", f"kmp_0123456789abcdef_{'a' * 42}", f"x{GOOD_FORM}"])
async def test_nobody_is_asked_about_what_is_no_minted_key(key: str) -> None:
    minted = Minted(key)
    provider = ApiKeyProvider({}, minted)

    assert await provider.authenticate(Credentials(authorization=f"Bearer {key}")) is None
    assert minted.asked == 0


async def test_a_minted_key_is_recognised_after_those_of_the_configuration() -> None:
    key = mint_key().text
    minted = Minted(key)

    found = await ApiKeyProvider({}, minted).authenticate(Credentials(api_key=key))
    own = ApiKeyProvider({key: ApiKey("key:a", frozenset())}, minted)
    configured = await own.authenticate(Credentials(api_key=key))

    assert found == SALES
    assert configured is not None
    assert configured.subject == "key:a"
    assert minted.asked == 1
    with pytest.raises(UnauthenticatedError):
        await own.authenticate(Credentials(api_key=mint_key().text))


@pytest.mark.parametrize(
    ("key", "weak"),
    [
        ("short-key", True),
        ("a" * 40, True),
        ("abcabcabcabcabcabc", True),
        ("a-long-random-key", False),
        (GOOD_FORM, False),
        (f"sha256:{'0' * 64}", False),
    ],
)
def test_a_short_or_monotonous_key_is_weak(key: str, weak: bool) -> None:
    assert is_weak(key) is weak
