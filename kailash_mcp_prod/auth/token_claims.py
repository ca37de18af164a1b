"""What the claims of a token say about who is calling, be it a JWT or an introspected one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InsufficientScopeError

_MAX_TENANT_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say of itself, beside `exp` and `sub`.

    Args:
        issuer: The `iss` that it must have; `None` for any or none.
        audiences: Of these its `aud` must name one; none of them for any `aud` or none.
        leeway_seconds: How far the issuer's clock may be off.
    """

    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    leeway_seconds: float = 0.0

    def fit(self, claims: Mapping[str, Any]) -> bool:
        """Whether issuer and audience are as they must be; a claim that is missing is not."""
        if self.issuer is not None and claims.get("iss") != self.issuer:
            return False
        named = claims.get("aud")
        if not self.audiences:
            return True
        return any(
            each in self.audiences for each in (named if isinstance(named, list) else [named])
        )


@dataclass(frozen=True, slots=True)
class ClaimReader:
    """Makes a principal of claims that are known to be true.

    `permissions` is a list, or `scope` a text with spaces, or `scp` either of both; a token without
    any grants nothing. `surface` names a surface of tools. The claims below may stand in others, as
    in `realm_access.roles`, unless there is one with just that name.

    Args:
        tenant_claim: The claim that names the tenant, a text of 1 to 255 characters; anything
            else in it counts as no tenant.
        roles_claim: The claim that names roles: a list, or a text with spaces.
        required_scopes: What each token must have in its scope, or among its permissions.
    """

    tenant_claim: str = "tenant_id"
    roles_claim: str = "roles"
    required_scopes: tuple[str, ...] = ()

    def principal(
        self, claims: Mapping[str, Any], *, subject: str, method: str, expires_at: float | None
    ) -> Principal:
        """The principal whom the claims describe.

        Args:
            claims: The claims.
            subject: Who it is, unique among all credentials.
            method: The kind of the credential.
            expires_at: Until when that holds.

        Raises:
            InsufficientScopeError: The token lacks a scope that all need.
        """
        scope = _words(claims["scope"]) if "scope" in claims else _several(claims.get("scp"))
        listed = claims.get("permissions")
        permissions = _texts(listed) if isinstance(listed, list) else scope
        if not (scope | permissions).issuperset(self.required_scopes):
            raise InsufficientScopeError(
                "The token lacks a scope that this server asks for. Get one with all of "
                f"{', '.join(self.required_scopes)}.",
                details={"required_scopes": list(self.required_scopes)},
            )
        tenant = _named(claims, self.tenant_claim)
        surface = claims.get("surface")
        return Principal(
            subject=subject,
            permissions=permissions,
            method=method,
            expires_at=expires_at,
            tenant=tenant if _is_tenant(tenant) else None,
            surface=surface if isinstance(surface, str) else None,
            roles=_several(_named(claims, self.roles_claim)),
            read_only=claims.get("read_only") is True,
            claims=MappingProxyType(dict(claims)),
        )


def instant(value: Any) -> float:
    """A time among the claims, in Unix seconds.

    Raises:
        ValueError: It is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a time must be a number")
    try:
        seconds = float(value)
    except OverflowError:
        raise ValueError("a time must be finite") from None
    if not math.isfinite(seconds):
        raise ValueError("a time must be finite")
    return seconds


def _named(claims: Mapping[str, Any], name: str) -> Any:
    # Names that are addresses have dots too.
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _is_tenant(claim: Any) -> bool:
    return isinstance(claim, str) and 0 < len(claim) <= _MAX_TENANT_LENGTH


def _words(claim: Any) -> frozenset[str]:
    return frozenset(claim.split()) if isinstance(claim, str) else frozenset()


def _texts(claim: list[Any]) -> frozenset[str]:
    return frozenset(each for each in claim if isinstance(each, str))


def _several(claim: Any) -> frozenset[str]:
    return _texts(claim) if isinstance(claim, list) else _words(claim)
