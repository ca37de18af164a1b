"""Which of several minted keys a name means."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.auth.minted_keys import principal_named, principal_of
from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.state.stored_key import StoredKey

NOW = 1000.0


def key(key_id: str, **given: Any) -> StoredKey:
    return StoredKey(key_id, "00", key_id, 1.0, **{"permissions": ("*:read",), **given})


def test_a_key_stands_for_its_agent_or_for_its_lineage() -> None:
    named = principal_of(key("k1", agent_id="sales", roles=("clerk",), claims={"team": "x"}))

    assert (named.subject, named.roles, dict(named.claims)) == (
        *("kmp:sales", frozenset({"clerk"})),
        {"team": "x"},
    )
    assert named.credential_id == "key:k1"
    assert principal_of(key("k2")).subject == "kmp-k2"


@pytest.mark.parametrize("first", ["id", "agent_id", "label"])
def test_an_id_goes_before_an_agent_and_an_agent_before_a_label(first: str) -> None:
    kinds = ["id", "agent_id", "label"]
    by_kind = {
        "id": key("sales"),
        "agent_id": key("k2", agent_id="sales"),
        "label": key("k3", label="sales"),
    }
    keys = [by_kind[kind] for kind in reversed(kinds[kinds.index(first) :])]

    found = principal_named(keys, "sales", NOW)
    assert found is not None
    assert found.credential_id == f"key:{by_kind[first].id}"


def test_only_good_keys_are_meant() -> None:
    ended = [
        key("sales", expires_at=NOW),
        key("k2", agent_id="sales", revoked_at=5.0),
    ]
    assert principal_named(ended, "sales", NOW) is None

    found = principal_named([*ended, key("k3", label="sales")], "sales", NOW)
    assert found is not None
    assert found.credential_id == "key:k3"


def test_of_keys_that_say_the_same_the_newest_is_meant() -> None:
    keys = [key("new", agent_id="sales"), key("old", agent_id="sales", expires_at=NOW + 1)]

    found = principal_named(keys, "sales", NOW)
    assert found is not None
    assert found.credential_id == "key:new"


@pytest.mark.parametrize(
    "other", [{"permissions": ("*",)}, {"claims": {"a": 1}}, {"read_only": True}, {"roles": ("x",)}]
)
def test_keys_that_say_different_things_have_to_be_named_by_id(other: dict[str, Any]) -> None:
    keys = [key("k1", agent_id="sales"), key("k2", agent_id="sales", **other)]

    with pytest.raises(ConfigError, match="k1, k2"):
        principal_named(keys, "sales", NOW)
