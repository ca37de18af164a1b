from __future__ import annotations

from dataclasses import replace

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.query import holds
from kailash_mcp_prod.records.scope import OPEN
from kailash_mcp_prod.records.types import FieldType, Kind
from kailash_mcp_prod.tools.scopes import scope_of

KEY = Field("id", FieldType(Kind.TEXT), "Key.", required=False)
SHARED = Model("Note", "notes", "A note.", (KEY,))
TENANT = Field("tenant_id", FieldType(Kind.TEXT), "Owner.", required=True, read_only=True)
OWNED = replace(SHARED, tenant=TENANT)
OURS = Principal("p", frozenset({"*"}), tenant="ours")


def test_a_model_without_tenants_is_open_to_everybody() -> None:
    assert scope_of(SHARED, OURS) is OPEN
    assert scope_of(SHARED, ANONYMOUS) is OPEN


def test_a_tenant_reaches_its_own_records_and_makes_no_others() -> None:
    scope = scope_of(OWNED, OURS)

    assert holds(scope.rows, {"tenant_id": "ours"}) is True
    assert holds(scope.rows, {"tenant_id": "theirs"}) is False
    assert holds(scope.rows, {"tenant_id": None}) is None
    assert scope.values == {"tenant_id": "ours"}


@pytest.mark.parametrize("principal", [ANONYMOUS, replace(OURS, tenant=None)])
def test_a_credential_without_a_tenant_reaches_nothing(principal: Principal) -> None:
    with pytest.raises(ForbiddenError, match=r"Note .* names no tenant.*tenant_id"):
        scope_of(OWNED, principal)


def test_an_empty_tenant_is_none() -> None:
    with pytest.raises(ForbiddenError):
        scope_of(OWNED, replace(OURS, tenant=""))
