"""JSON Web Tokens that this server's operator mints, and what is wrong with one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from kailash_mcp_prod.errors import InvalidArgumentsError

ALGORITHM: Final = "HS256"
MAX_TOKEN_LENGTH: Final = 8192
MAX_JTI_LENGTH: Final = 255
_JTI_BYTES: Final = 16
_OURS: Final = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
        *("permissions", "roles", "scope", "surface", "read_only"),
    }
)


@dataclass(frozen=True, slots=True)
class TokenGrants:
    """Whom a token is for and what it allows.

    `tenant` goes into the claim `tenant_claim`, and `roles` into `roles_claim`. `scope` is what a
    server asks of all tokens.
    """

    subject: str
    permissions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant: str | None = None
    tenant_claim: str = "tenant_id"
    surface: str | None = None
    read_only: bool = False
    issuer: str | None = None
    audience: Sequence[str] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    roles_claim: str = "roles"
    scope: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A new token and what it says; `text` is a secret."""

    text: str = field(repr=False)
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenReport:
    """What a token says, and what is wrong with it, if anything.

    `verified` says whether its signature was checked and is ours: only then are its claims more
    than what somebody wrote.
    """

    claims: dict[str, Any]
    verified: bool
    problem: str | None

    @property
    def jti(self) -> str | None:
        """What it can be revoked by."""
        jti = self.claims.get("jti")
        return jti if isinstance(jti, str) and 0 < len(jti) <= MAX_JTI_LENGTH else None


def mint_token(
    secret: str,
    grants: TokenGrants,
    life_seconds: float,
    clock: Callable[[], float] = time.time,
) -> MintedToken:
    """A token signed with the server's secret, with an id by which it can be revoked.

    Raises:
        InvalidArgumentsError: A further claim has a name that means something here, or the token
            is too long for a header.
    """
    taken = sorted((_OURS | {grants.tenant_claim, grants.roles_claim}) & grants.claims.keys())
    if taken:
        raise InvalidArgumentsError(f"The claim {taken[0]} has an option of its own, or none.")
    now = int(clock())
    optional: dict[str, Any] = {
        "iss": grants.issuer,
        "aud": list(grants.audience) or None,
        "scope": " ".join(grants.scope) or None,
        # Without the list, the scope would be taken for permissions.
        "permissions": list(grants.permissions) if grants.permissions or grants.scope else None,
        grants.roles_claim: list(grants.roles) or None,
        grants.tenant_claim: grants.tenant,
        "surface": grants.surface,
        "read_only": grants.read_only or None,
    }
    claims = {
        "sub": grants.subject,
        "jti": secrets.token_hex(_JTI_BYTES),
        "iat": now,
        "exp": now + int(life_seconds),
        **{name: value for name, value in optional.items() if value is not None},
        **grants.claims,
    }
    text = jwt.encode(claims, secret, algorithm=ALGORITHM)
    if len(text) > MAX_TOKEN_LENGTH:
        raise InvalidArgumentsError(
            f"The token would be longer than {MAX_TOKEN_LENGTH} characters."
        )
    return MintedToken(text, claims)


def inspect_token(
    text: str,
    secret: str | None,
    *,
    issuer: str | None = None,
    audience: Sequence[str] = (),
) -> TokenReport:
    """What a token says and whether it is good, apart from a revocation.

    Args:
        text: The token.
        secret: What our own tokens are signed with; `None` if it is not at hand.
        issuer: The `iss` that it must have, if any.
        audience: Of which its `aud` must name one, if it must.

    Raises:
        InvalidArgumentsError: It is no JSON Web Token.
    """
    try:
        header = jwt.get_unverified_header(text)
        claims = jwt.decode(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidArgumentsError("This is no JSON Web Token.") from None
    if secret is None:
        return TokenReport(claims, False, "JWT_SECRET is not set, so nothing could be checked")
    if header.get("alg") != ALGORITHM:
        problem = "it is not signed with HS256, so another issuer's key has to tell"
        return TokenReport(claims, False, problem)
    try:
        jwt.decode(text, secret, algorithms=[ALGORITHM], options=_SIGNATURE_ALONE)
    except (jwt.PyJWTError, ValueError):
        return TokenReport(claims, False, "it was not signed with JWT_SECRET, or was changed since")
    return TokenReport(claims, True, _problem(text, secret, issuer, audience))


_SIGNATURE_ALONE: Final[Any] = {
    "verify_signature": True,
    **{f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}


def _problem(text: str, secret: str, issuer: str | None, audience: Sequence[str]) -> str | None:
    try:
        jwt.decode(
            text,
            secret,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=list(audience) or None,
            options={"require": ["exp", "sub"], "verify_aud": bool(audience)},
        )
    except jwt.ExpiredSignatureError:
        return "it has expired"
    except jwt.ImmatureSignatureError:
        return "it is not valid yet"
    except jwt.InvalidIssuerError:
        return "its iss is not jwt_issuer"
    except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as failure:
        missing = getattr(failure, "claim", "aud")
        return f"its {missing} is missing" if missing != "aud" else "its aud is not jwt_audience"
    except (jwt.PyJWTError, ValueError, OverflowError):
        return "a claim has a value that is none"
    return None
