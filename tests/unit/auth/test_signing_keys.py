"""Keys that verify tokens: which are taken, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kailash_mcp_prod.auth.signing_keys import MAX_KEYS, keys_of_jwks, keys_of_pem, shared_key
from tests.identity_provider import EC_KEY, ED_KEY, PRIVATE_KEYS, RSA_KEY, jwk, pem

SHORT = rsa.generate_private_key(65537, 1024)
PRIVATE = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OCT = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "kid": "one"}


def key_set(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_key_has_the_one_algorithm_of_its_kind(algorithm: str) -> None:
    [of_pem] = keys_of_pem(f"Some words\n{pem(PRIVATE_KEYS[algorithm])}")
    [of_set] = keys_of_jwks(key_set(jwk(algorithm, "a")))

    assert of_pem.algorithm == of_set.algorithm == algorithm
    assert (of_pem.kid, of_set.kid) == (None, "a")


def test_a_file_may_hold_several_keys() -> None:
    keys = keys_of_pem("".join(pem(key) for key in (RSA_KEY, EC_KEY, ED_KEY)))

    assert [key.algorithm for key in keys] == ["RS256", "ES256", "EdDSA"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no public key"),
        ("-----BEGIN PUBLIC KEY-----", "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "can't be read"),
        (PRIVATE, "private key"),
        (pem(RSA_KEY) + PRIVATE, "private key"),
        (pem(SHORT), "another kind"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "another kind"),
        (pem(ed448.Ed448PrivateKey.generate()), "another kind"),
        (pem(dsa.generate_private_key(2048)), "another kind"),
    ],
)
def test_what_is_no_good_public_key_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        keys_of_pem(text)


@pytest.mark.parametrize(
    "entry",
    [
        OCT,
        jwk("RS256", key=SHORT),
        jwk("RS256", use="enc"),
        jwk("RS256", alg="RS512"),
        jwk("RS256", alg="HS256"),
        jwk("RS256", key_ops=["encrypt"]),
        jwk("RS256", key_ops="verify"),
        {**jwk("RS256"), "kid": 7},
        {**jwk("RS256"), "kty": "EC"},
        {**jwk("RS256"), "n": "!"},
        {**jwk("RS256"), "n": 5},
        {**jwk("ES256"), "crv": "P-384"},
        {**jwk("ES256"), "x": jwk("ES256")["y"]},
        {**jwk("EdDSA"), "x": "AA"},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {},
        [],
        None,
        "key",
    ],
)
def test_a_key_set_is_taken_without_what_is_no_key_for_signatures(entry: Any) -> None:
    good = jwk("EdDSA", "good", use="sig", key_ops=["verify"], alg="EdDSA")

    assert [key.kid for key in keys_of_jwks(key_set(entry, good))] == ["good"]
    with pytest.raises(ValueError, match="no key"):
        keys_of_jwks(key_set(entry))


def test_private_halves_in_a_key_set_are_not_used() -> None:
    with pytest.raises(ValueError, match="no key"):
        keys_of_jwks(key_set({**jwk("RS256"), "d": "AQAB"}))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"keys": {}}', b"null", b"[" * 50_000, b"\xff", b'{"keys":1}'],
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON Web Key Set"):
        keys_of_jwks(body)


def test_only_so_many_keys_of_a_set_are_looked_at() -> None:
    entries = [OCT] * MAX_KEYS
    with pytest.raises(ValueError, match="no key"):
        keys_of_jwks(key_set(*entries, jwk("EdDSA")))


def test_a_key_does_not_show_itself() -> None:
    assert "secret" not in repr(shared_key("secret"))
