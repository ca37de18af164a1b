"""How far a scope reaches: both stores go by this one rule."""

from __future__ import annotations

from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.query import All, Comparison
from kailash_mcp_prod.records.refusals import no_tenant
from kailash_mcp_prod.records.scope import Scope


def reach_of(model: Model, scope: Scope) -> Scope:
    """The scope, and for a model with tenants no more than the tenant's records.

    Raises:
        ForbiddenError: The model has tenants, and the scope names none.
    """
    if model.tenant is None:
        return scope
    tenant = scope.values.get(model.tenant.name)
    if not tenant:
        raise no_tenant(model)
    return Scope(All((scope.rows, Comparison(model.tenant, "$eq", tenant))), scope.values)
