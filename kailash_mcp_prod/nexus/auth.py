"""Who calls, by what the Nexus app has found out about a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final

from kailash_mcp_prod.auth.principal import ANONYMOUS, OF_ONE_TOKEN, Credentials, Principal
from kailash_mcp_prod.auth.token_claims import instant
from kailash_mcp_prod.errors import ForbiddenError, UnauthenticatedError
from kailash_mcp_prod.nexus.guards import METHOD, USER_CLAIM
from kailash_mcp_prod.nexus.platform import NexusPlatform
from kailash_mcp_prod.transports.asgi import Scope

request_scope: ContextVar[Scope | None] = ContextVar("nexus_request_scope", default=None)
"""The request that is being answered, with what the app's middlewares have put into its state."""

credential_look: ContextVar[Callable[[Credentials], Awaitable[Scope]] | None] = ContextVar(
    "nexus_credential_look", default=None
)
"""For requests whose credential is not in their headers: what the app's middlewares say of it."""

_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_API_KEY: Final = "api_key"


@dataclass(frozen=True, slots=True)
class NexusAuth:
    """What the users of a Nexus app may do here.

    A user has the permissions of its token that are of the form of this package, such as
    `Company:read`, `nexus:greet` or `*`, and the roles of its token; those that the setting `roles`
    does not name grant nothing. What is given here comes to that.

    Attributes:
        roles: Permissions of this package by the role of a user.
        permissions: The same by a permission of Nexus, such as `read:orders`.
        everybody: Permissions of every user that is known.
        api_keys: Permissions of those who call with an API key of Nexus. It does not tell its keys
            apart unless the app has an `api_key_validator` that does.
        tokens_without_end: Whether tokens without `exp` are taken. They are good for ever.
    """

    roles: Mapping[str, Collection[str]] = field(default_factory=dict)
    permissions: Mapping[str, Collection[str]] = field(default_factory=dict)
    everybody: Collection[str] = ()
    api_keys: Collection[str] = ()
    tokens_without_end: bool = False


class NexusProvider:
    """An `AuthProvider` that believes the Nexus app.

    Args:
        platform: The app.
        rules: What its users may do.
        insecure: Whether everybody may do everything where the app asks for no credentials.
    """

    def __init__(self, platform: NexusPlatform, rules: NexusAuth, *, insecure: bool) -> None:
        self._platform = platform
        self._rules = rules
        self._insecure = insecure

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The principal of the request that is being answered.

        Raises:
            UnauthenticatedError: There is no user, and the app asks for one.
            ForbiddenError: The app asks nobody, and the request may come from another machine.
        """
        look = credential_look.get()
        scope = request_scope.get() if look is None else await look(credentials)
        if scope is None:
            raise UnauthenticatedError("This can only be called through the Nexus app.")
        state = scope.get("state") or {}
        user = state.get("user")
        if user is not None:
            return self._principal(user, state)
        if self._platform.has_auth:
            raise UnauthenticatedError(
                "The Nexus app asks for a credential: send Authorization: Bearer with a token."
            )
        if self._insecure or is_of_this_machine(scope):
            return ANONYMOUS
        raise ForbiddenError(
            "The Nexus app asks for no credentials, so only programs on its own machine may call. "
            "Turn its authentication on, or set insecure if everybody on the network may do "
            "everything."
        )

    def _principal(self, user: Any, state: Mapping[str, Any]) -> Principal:
        user_id = getattr(user, "user_id", None)
        if not isinstance(user_id, str) or not user_id:
            raise UnauthenticatedError("The Nexus app does not say which user this is.")
        payload = state.get("token_payload")
        by_key = isinstance(payload, Mapping) and payload.get("type") == _API_KEY
        claims = dict(getattr(user, "raw_claims", None) or {})
        expires_at = None if by_key else self._end_of(claims)
        roles = _texts(getattr(user, "roles", None))
        provider = getattr(user, "provider", None) or "local"
        named = user_id if provider == "local" else f"{provider}:{user_id}"
        told = _texts(getattr(user, "permissions", None))
        rbac = _texts(state.get("user_permissions"))
        tenant = getattr(user, "tenant_id", None)
        claims[USER_CLAIM] = {
            "user_id": user_id,
            "email": getattr(user, "email", None),
            "roles": sorted(roles),
            "permissions": sorted(told),
            "tenant_id": tenant,
            "provider": provider,
            # Without those that tell no two callers apart: this decides whose a session is.
            "raw_claims": {name: each for name, each in claims.items() if name not in OF_ONE_TOKEN},
            "rbac_permissions": sorted(rbac),
        }
        return Principal(
            subject=f"{'nexus-key' if by_key else 'nexus'}:{named}",
            permissions=self._permissions(roles, told | rbac, by_key=by_key),
            method=METHOD,
            expires_at=expires_at,
            tenant=tenant if isinstance(tenant, str) and 0 < len(tenant) <= 255 else None,
            roles=roles,
            read_only=claims.get("read_only") is True,
            claims=MappingProxyType(claims),
        )

    def _permissions(
        self, roles: frozenset[str], told: frozenset[str], *, by_key: bool
    ) -> frozenset[str]:
        rules = self._rules
        found = {*told, *rules.everybody}
        for role in roles:
            found.update(rules.roles.get(role, ()))
        for permission in told:
            found.update(rules.permissions.get(permission, ()))
        if by_key:
            found.update(rules.api_keys)
        return frozenset(found)

    def _end_of(self, claims: Mapping[str, Any]) -> float | None:
        if "exp" not in claims:
            if self._rules.tokens_without_end:
                return None
            raise UnauthenticatedError(
                "The token has no exp, so it would be good for ever. Get one that ends."
            )
        try:
            return instant(claims["exp"])
        except ValueError:
            raise UnauthenticatedError("The token's exp is no time. Get another one.") from None


def is_of_this_machine(scope: Scope) -> bool:
    """Whether a request certainly comes from a program on this machine, and through no proxy."""
    if any(name in _FORWARDED for name, _ in scope.get("headers", ())):
        return False
    server, client = scope.get("server"), scope.get("client")
    return _is_loopback(server) and (client is None or _is_loopback(client))


def _is_loopback(address: Any) -> bool:
    host = address[0] if address else None
    if host == "localhost":
        return True
    try:
        return ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _texts(value: Any) -> frozenset[str]:
    if not isinstance(value, list | tuple | set | frozenset):
        return frozenset()
    return frozenset(each for each in value if isinstance(each, str))
