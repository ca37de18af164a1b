"""Which part of a model's records a principal may reach."""

from __future__ import annotations

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InsufficientScopeError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.query import Comparison
from kailash_mcp_prod.records.scope import OPEN, Scope


def scope_of(model: Model, principal: Principal) -> Scope:
    """The scope of a call: everything, or the records of the principal's tenant.

    Raises:
        InsufficientScopeError: The model is multi-tenant, and the credential names no tenant.
    """
    if model.tenant is None:
        return OPEN
    if not principal.tenant:
        raise InsufficientScopeError(
            f"{model.name} keeps each tenant's records apart, and this credential names no tenant. "
            "Use a token with a tenant in its claim (tenant_id, unless the operator set another "
            "tenant_claim), or an API key with a tenant_id."
        )
    return Scope(
        rows=Comparison(model.tenant, "$eq", principal.tenant),
        values={model.tenant.name: principal.tenant},
    )
