from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.manifest.content import identity_of, without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:secret@db:5432/shop", "postgresql://app@db:5432/shop"),
        ("postgresql://app:s%40cret@db/shop?password=x", "postgresql://app@db/shop"),
        ("sqlite:////srv/app.db", "sqlite://@//srv/app.db"),
    ],
)
def test_an_address_is_named_without_its_secrets(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_two_databases_have_two_identities_and_two_passwords_one() -> None:
    def named(url: str | None, **settings: Any) -> str:
        return identity_of("models:db", url, settings)

    base = named("postgresql://app:one@db/shop")
    assert named("postgresql://app:two@db/shop") == base
    assert named("postgresql://app:one@db/other") != base
    assert named("postgresql://other:one@db/shop") != base
    assert named("postgresql://app:one@db/shop", operations=["read"]) != base
    assert named(None) != base
    assert identity_of("shop:db", None, {}) != named(None)
