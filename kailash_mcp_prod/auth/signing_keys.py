"""Keys that verify tokens, each bound to the one algorithm of its own kind.

What a token says of its algorithm can only find no key: it never decides how a key is used. So no
public key is ever taken for a secret, and `none` is no algorithm of any key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SHARED: Final = "HS256"
PUBLIC: Final = frozenset({"RS256", "ES256", "EdDSA"})
MAX_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8193)
_PEM_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_OF_KTY: Final[Mapping[str, type[jwt.algorithms.Algorithm]]] = {
    "RSA": jwt.algorithms.RSAAlgorithm,
    "EC": jwt.algorithms.ECAlgorithm,
    "OKP": jwt.algorithms.OKPAlgorithm,
}


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, the only algorithm it is used with, and the id by which tokens name it."""

    algorithm: str
    key: Any = field(repr=False)
    kid: str | None = None


class SigningKeys(Protocol):
    """Where keys come from."""

    @property
    def version(self) -> int:
        """Changes whenever the keys do."""

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[SigningKey]:
        """The keys that a token of this algorithm and key id may be signed with.

        Raises:
            UnavailableError: Nobody can tell at the moment.
        """


class FixedKeys:
    """Keys that stay as they are. A token's key id tells nothing of them.

    Args:
        keys: The keys.
    """

    version = 0

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = tuple(keys)

    async def keys(self, algorithm: str, _kid: str | None) -> Sequence[SigningKey]:
        """See `SigningKeys.keys`."""
        return [each for each in self._keys if each.algorithm == algorithm]


def shared_key(secret: str) -> SigningKey:
    """The key that both signs and verifies."""
    return SigningKey(SHARED, secret.encode())


def keys_of_pem(text: str) -> list[SigningKey]:
    """The public keys in a PEM text, one after the other.

    Raises:
        ValueError: There is none, or one is of no use; the message is for an operator.
    """
    keys = []
    for block in _PEM_BLOCK.finditer(text):
        if "PRIVATE" in block[1]:
            raise ValueError("holds a private key. Only its public key belongs here")
        try:
            key = load_pem_public_key(block[0].encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"holds a {block[1].lower()} that can't be read as a key") from None
        algorithm = _algorithm_of(key)
        if algorithm is None:
            raise ValueError(
                "holds a key of another kind than RSA from 2048 bits, EC P-256 and Ed25519"
            )
        keys.append(SigningKey(algorithm, key))
    if not keys:
        raise ValueError("holds no public key in PEM form")
    return keys


def keys_of_jwks(body: bytes) -> list[SigningKey]:
    """The keys in a JSON Web Key Set that verify signatures; others are left out.

    Raises:
        ValueError: It is no such set, or holds no such key.
    """
    try:
        entries = json.loads(body)["keys"]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise ValueError("it is no JSON Web Key Set") from None
    if not isinstance(entries, list):
        raise ValueError("it is no JSON Web Key Set")
    found = [_key_of_jwk(entry) for entry in entries[:MAX_KEYS]]
    keys = [key for key in found if key is not None]
    if not keys:
        raise ValueError("it holds no key for RS256, ES256 or EdDSA")
    return keys


def _key_of_jwk(entry: Any) -> SigningKey | None:
    if not isinstance(entry, dict) or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    operations, kid = entry.get("key_ops", ["verify"]), entry.get("kid")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kind = _OF_KTY.get(str(entry.get("kty")))
    if kind is None or not isinstance(kid, str | None):
        return None
    try:
        key = kind.from_jwk(entry)
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm, OverflowError):
        return None
    algorithm = _algorithm_of(key)
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    return SigningKey(algorithm, key, kid)


def _algorithm_of(key: Any) -> str | None:
    match key:
        case RSAPublicKey() if key.key_size in _RSA_BITS:
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey():
            return "EdDSA"
        case _:
            return None
