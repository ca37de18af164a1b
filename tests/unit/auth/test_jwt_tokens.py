from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from kailash_mcp_prod.auth.chain import CredentialChain
from kailash_mcp_prod.auth.jwt_tokens import MAX_TOKEN_LENGTH, JwtProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.signing_keys import FixedKeys, SigningKey, keys_of_pem, shared_key
from kailash_mcp_prod.auth.token_claims import ClaimReader, TokenRules
from kailash_mcp_prod.errors import InsufficientScopeError, UnauthenticatedError
from tests.identity_provider import AUDIENCE, ISSUER, PRIVATE_KEYS, issued, jwk, pem

SECRET = "a-secret-of-more-than-thirty-two-bytes"
TOKENS = JwtProvider([("jwt", FixedKeys([shared_key(SECRET)]))])
FAR = 9_999_999_999


def bearer(token: str) -> Credentials:
    return Credentials(authorization=f"Bearer {token}")


def segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def signed(claims: str, header: str = '{"alg":"HS256","typ":"JWT"}') -> str:
    """A token whose parts are any text at all, with a good signature."""
    message = f"{segment(header)}.{segment(claims)}"
    signature = hmac.new(SECRET.encode(), message.encode(), hashlib.sha256).digest()
    return f"{message}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "agent-7", "exp": FAR, **claims}, SECRET, algorithm="HS256")


async def refused(credentials: Credentials, provider: JwtProvider = TOKENS) -> str:
    with pytest.raises(UnauthenticatedError) as error:
        await CredentialChain([provider]).authenticate(credentials)
    return str(error.value)


def made(secret: str = SECRET, **options: Any) -> JwtProvider:
    return JwtProvider([("jwt", FixedKeys([shared_key(secret)]))], **options)


@pytest.mark.parametrize("tenant", ["acme", "ä" * 255, " "])
async def test_a_token_names_its_tenant_in_a_claim(tenant: str) -> None:
    by_default = await TOKENS.authenticate(bearer(token(tenant_id=tenant, org="other")))
    by_name = await made(reader=ClaimReader(tenant_claim="org")).authenticate(
        bearer(token(tenant_id="other", org=tenant))
    )

    assert by_default is not None
    assert by_name is not None
    assert by_default.tenant == by_name.tenant == tenant


@pytest.mark.parametrize("claim", ["", "x" * 256, None, 7, True, ["acme"], {"id": "acme"}])
async def test_what_is_no_short_text_names_no_tenant(claim: Any) -> None:
    principal = await TOKENS.authenticate(bearer(token(tenant_id=claim)))
    without = await TOKENS.authenticate(bearer(token()))

    assert principal is not None
    assert without is not None
    assert principal.tenant is without.tenant is None


async def test_a_token_tells_who_and_what() -> None:
    principal = await TOKENS.authenticate(bearer(token(permissions=["*:read"], team="sales")))

    assert principal == Principal(
        "jwt:agent-7", frozenset({"*:read"}), "jwt", expires_at=float(FAR)
    )
    assert principal is not None
    assert principal.claims["team"] == "sales"


@pytest.mark.parametrize(
    ("claims", "permissions"),
    [
        ({}, set()),
        ({"permissions": []}, set()),
        ({"permissions": ["a:read", "b:*"]}, {"a:read", "b:*"}),
        ({"scope": "a:read  b:*"}, {"a:read", "b:*"}),
        ({"permissions": ["a:read"], "scope": "*"}, {"a:read"}),
        ({"permissions": [], "scope": "*"}, set()),
        ({"permissions": "*"}, set()),
        ({"permissions": {"*": True}}, set()),
        ({"permissions": [1, None, ["*"], {"*": 1}, "a:read"]}, {"a:read"}),
        ({"scope": ["*"]}, set()),
        ({"scope": 1}, set()),
        ({"scp": "a:read b:*"}, {"a:read", "b:*"}),
        ({"scp": ["a:read", 1]}, {"a:read"}),
        ({"scp": "*", "scope": "a:read"}, {"a:read"}),
        ({"scp": "*", "permissions": []}, set()),
    ],
)
async def test_permissions_are_a_list_or_a_scope_and_nothing_else_grants(
    claims: dict[str, Any], permissions: set[str]
) -> None:
    principal = await TOKENS.authenticate(bearer(token(**claims)))

    assert principal is not None
    assert principal.permissions == permissions


async def test_an_expired_token_says_so() -> None:
    assert "expired" in await refused(bearer(token(exp=int(time.time()) - 1)))


@pytest.mark.parametrize(
    "claims",
    [
        '{"sub":"a"}',
        f'{{"exp":{FAR}}}',
        f'{{"sub":null,"exp":{FAR}}}',
        f'{{"sub":"","exp":{FAR}}}',
        f'{{"sub":7,"exp":{FAR}}}',
        f'{{"sub":["a"],"exp":{FAR}}}',
        f'{{"sub":{{"a":1}},"exp":{FAR}}}',
        '{"sub":"a","exp":null}',
        '{"sub":"a","exp":"x"}',
        '{"sub":"a","exp":""}',
        f'{{"sub":"a","exp":"{FAR}"}}',
        f'{{"sub":" ","exp":{FAR}}}',
        '{"sub":"a","exp":[9999999999]}',
        '{"sub":"a","exp":{}}',
        '{"sub":"a","exp":NaN}',
        '{"sub":"a","exp":Infinity}',
        '{"sub":"a","exp":1e400}',
        '{"sub":"a","exp":-1e400}',
        f'{{"sub":"a","exp":1{"0" * 400}}}',
        f'{{"sub":"a","exp":1{"0" * 5000}}}',
        f'{{"sub":"a","exp":{FAR},"nbf":{FAR - 1}}}',
        f'{{"sub":"a","exp":{FAR},"nbf":"x"}}',
        f'{{"sub":"a","exp":{FAR},"nbf":1e400}}',
        f'{{"sub":"a","exp":{FAR},"iat":[1]}}',
        f'{{"sub":"a","exp":{FAR},"x":{"[" * 20_000}}}',
        "[]",
        '"a"',
        "null",
        "no json",
        "",
    ],
)
async def test_odd_claims_are_refused_in_spite_of_a_good_signature(claims: str) -> None:
    assert "not valid" in await refused(bearer(signed(claims)))


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"none"}',
        '{"alg":"None"}',
        '{"alg":""}',
        '{"alg":null}',
        '{"alg":"HS512"}',
        '{"alg":"RS256"}',
        '{"alg":["HS256"]}',
        '{"alg":{"HS256":1}}',
        '{"alg":"HS256","kid":7}',
        '{"alg":"HS256","crit":["exp"]}',
        '{"alg":"HS256","b64":false}',
        f'{{"alg":"HS256","x":1{"0" * 5000}}}',
        "{}",
        "[]",
        "[" * 20_000,
        "no json",
        "",
    ],
)
async def test_odd_headers_are_refused(header: str) -> None:
    assert "not valid" in await refused(bearer(signed(f'{{"sub":"a","exp":{FAR}}}', header)))


async def test_an_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode({"sub": "a", "exp": FAR}, None, algorithm="none")

    await refused(bearer(unsigned))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_another_algorithm_with_the_right_secret_is_refused(algorithm: str) -> None:
    secret = SECRET * 2
    other = jwt.encode({"sub": "a", "exp": FAR}, secret, algorithm=algorithm)

    with pytest.raises(UnauthenticatedError):
        await CredentialChain([made(secret)]).authenticate(bearer(other))


async def test_another_secret_is_refused() -> None:
    await refused(bearer(jwt.encode({"sub": "a", "exp": FAR}, SECRET + "x", algorithm="HS256")))


async def test_a_changed_token_is_refused() -> None:
    header, _, signature = token().split(".")
    forged = segment(json.dumps({"sub": "admin", "exp": FAR, "permissions": ["*"]}))

    await refused(bearer(f"{header}.{forged}.{signature}"))


@pytest.mark.parametrize(
    "text", ["..", "a.b.c", "é.é.é", "\udcff.a.b", "a.b.", f"{'a' * 9}.{'=' * 9}.c", "a b.c.d"]
)
async def test_what_only_looks_like_a_token_is_refused(text: str) -> None:
    await refused(bearer(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["exp", "sub", "nbf", "iat", "jti", "iss", "aud", "permissions", "scope"]),
)
async def test_any_claim_ends_as_a_principal_or_a_refusal(value: Any, claim: str) -> None:
    claims = json.dumps({"sub": "a", "exp": FAR, claim: value})
    try:
        principal = await TOKENS.authenticate(bearer(signed(claims)))
    except UnauthenticatedError:
        return

    assert principal is not None
    assert principal.subject.startswith("jwt:")
    assert all(isinstance(each, str) for each in principal.permissions)
    hash(principal)


async def test_roles_are_a_list_or_a_text_in_a_claim_of_any_name() -> None:
    for roles in ("sales boss", ["sales", "boss", 7, None], ["boss", "sales", "boss"]):
        by_default = await TOKENS.authenticate(bearer(token(roles=roles)))
        by_name = await made(reader=ClaimReader(roles_claim="groups")).authenticate(
            bearer(token(roles="other", groups=roles))
        )

        assert by_default is not None
        assert by_name is not None
        assert by_default.roles == by_name.roles == {"sales", "boss"}


@pytest.mark.parametrize(
    ("name", "claims", "roles"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["boss"]}}, {"boss"}),
        ("https://a.example/roles", {"https://a.example/roles": ["boss"]}, {"boss"}),
        ("a.b", {"a.b": ["boss"], "a": {"b": ["other"]}}, {"boss"}),
        ("a.b", {"a": ["boss"]}, set()),
        ("a.b", {"a": {"b": {"c": "boss"}}}, set()),
    ],
)
async def test_roles_may_stand_in_a_claim_within_a_claim(
    name: str, claims: dict[str, Any], roles: set[str]
) -> None:
    provider = made(reader=ClaimReader(roles_claim=name, tenant_claim="org.id"))
    principal = await provider.authenticate(bearer(token(**claims, org={"id": "acme"})))

    assert principal is not None
    assert principal.roles == roles
    assert principal.tenant == "acme"


@pytest.mark.parametrize(("claim", "read_only"), [(True, True), (False, False), ("true", False)])
async def test_a_token_may_read_only(claim: Any, read_only: bool) -> None:
    principal = await TOKENS.authenticate(bearer(token(read_only=claim)))

    assert principal is not None
    assert principal.read_only is read_only


@pytest.mark.parametrize(
    "claims",
    [
        f'{{"sub":"a","sub":"admin","exp":{FAR}}}',
        f'{{"sub":"a","exp":{FAR},"permissions":[],"permissions":["*"]}}',
        f'{{"sub":"a","exp":1,"exp":{FAR}}}',
        f'{{"sub":"a","exp":{FAR},"deep":{{"x":1,"x":2}}}}',
    ],
)
async def test_a_claim_that_is_there_twice_is_not_believed(claims: str) -> None:
    assert "not valid" in await refused(bearer(signed(claims)))


async def test_a_token_within_a_token_is_refused() -> None:
    assert "not valid" in await refused(bearer(signed(json.dumps(token()))))
    nested = signed(token(), '{"alg":"HS256","cty":"JWT"}')
    assert "not valid" in await refused(bearer(nested))


async def test_a_huge_token_is_refused_unread() -> None:
    huge = token(x="y" * MAX_TOKEN_LENGTH)

    assert await TOKENS.authenticate(bearer(huge)) is None
    for odd in (f"{'a' * 100_000}.b.c", f"{segment(json.dumps({'x': 'y' * 50_000}))}.b.c"):
        assert await TOKENS.authenticate(bearer(odd)) is None


RULES = TokenRules(ISSUER, (AUDIENCE, "other"), leeway_seconds=60)


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({}, True),
        ({"aud": ["x", AUDIENCE]}, True),
        ({"aud": "other"}, True),
        ({"aud": None}, False),
        ({"aud": []}, False),
        ({"aud": "x"}, False),
        ({"aud": AUDIENCE + "/"}, False),
        ({"aud": {AUDIENCE: 1}}, False),
        ({"aud": [[AUDIENCE]]}, False),
        ({"iss": None}, False),
        ({"iss": ISSUER + "/"}, False),
        ({"iss": [ISSUER]}, False),
        ({"exp": -2}, True),
        ({"exp": -600}, False),
        ({"nbf": 2}, True),
        ({"nbf": 600}, False),
    ],
)
async def test_issuer_audience_and_times_are_checked_when_they_are_known(
    claims: dict[str, Any], good: bool
) -> None:
    provider = made(rules=RULES)
    for name in {"exp", "nbf"} & claims.keys():
        claims = {name: claims[name] + time.time()}
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": FAR, **claims}
    text = signed(json.dumps({name: each for name, each in given.items() if each is not None}))

    for _ in "twice":
        try:
            principal = await CredentialChain([provider]).authenticate(bearer(text))
        except UnauthenticatedError:
            assert not good
        else:
            assert good
            assert principal.subject == "jwt:a"


async def test_a_token_without_a_scope_that_all_need_is_refused_with_it() -> None:
    provider = made(reader=ClaimReader(required_scopes=("mcp", "openid")))

    for claims in ({"scope": "mcp openid x"}, {"permissions": ["mcp", "openid"]}):
        assert await provider.authenticate(bearer(token(**claims))) is not None
    for claims in ({}, {"scope": "mcp"}, {"scope": ["mcp", "openid"]}, {"scope": "mcpopenid"}):
        with pytest.raises(InsufficientScopeError) as lacking:
            await provider.authenticate(bearer(token(**claims)))
        assert lacking.value.scope == ("mcp", "openid")


ALL_KEYS = JwtProvider(
    [
        ("jwt", FixedKeys([shared_key(SECRET)])),
        ("idp", FixedKeys(keys_of_pem("".join(pem(key) for key in PRIVATE_KEYS.values())))),
    ],
    TokenRules(audiences=(AUDIENCE,)),
)


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
@pytest.mark.parametrize("kid", [None, "anything"])
async def test_a_public_key_verifies_what_its_private_half_has_signed(
    algorithm: str, kid: str | None
) -> None:
    principal = await ALL_KEYS.authenticate(bearer(issued(algorithm, kid=kid)))

    assert principal is not None
    assert (principal.subject, principal.method) == ("idp:alice", "jwt")


async def test_the_same_name_is_another_caller_when_another_key_speaks_for_it() -> None:
    own = jwt.encode({"sub": "alice", "exp": FAR, "aud": AUDIENCE}, SECRET, algorithm="HS256")
    ours, theirs = [await ALL_KEYS.authenticate(bearer(each)) for each in (own, issued())]

    assert ours is not None
    assert theirs is not None
    assert ours.subject != theirs.subject


def forged(algorithm: str, key: bytes, **header: Any) -> str:
    """A token with a MAC over it, whatever its header says."""
    claims = json.dumps({"sub": "admin", "exp": FAR, "aud": AUDIENCE, "permissions": ["*"]})
    message = f"{segment(json.dumps({'alg': algorithm, **header}))}.{segment(claims)}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384}.get(algorithm, hashlib.sha256)
    mac = hmac.new(key, message.encode(), digest).digest()
    return f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


PEMS = [pem(key).encode() for key in PRIVATE_KEYS.values()]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "RS256", "ES256", "EdDSA", "none", ""])
@pytest.mark.parametrize("key", [*PEMS, PEMS[0].strip(), b"", b"x" * 40])
async def test_no_public_key_is_taken_for_a_secret(algorithm: str, key: bytes) -> None:
    for header in ({}, {"kid": "one"}, {"jwk": jwk("RS256")}, {"jku": "http://127.0.0.1:1/"}):
        with pytest.raises(UnauthenticatedError):
            await CredentialChain([ALL_KEYS]).authenticate(bearer(forged(algorithm, key, **header)))


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
@pytest.mark.parametrize("said", ["RS256", "ES256", "EdDSA", "HS256", "RS384", "PS256", "none"])
async def test_the_header_never_chooses_how_a_key_is_used(algorithm: str, said: str) -> None:
    head, claims, signature = issued(algorithm).split(".")
    other = segment(json.dumps({"alg": said, "typ": "JWT"}))
    if other == head:
        return
    with pytest.raises(UnauthenticatedError):
        await CredentialChain([ALL_KEYS]).authenticate(bearer(f"{other}.{claims}.{signature}"))


async def test_a_token_for_another_service_is_refused() -> None:
    for audience in (None, "https://other.example.com"):
        with pytest.raises(UnauthenticatedError):
            await ALL_KEYS.authenticate(bearer(issued(aud=audience)))


async def test_another_key_of_the_right_kind_is_refused() -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(UnauthenticatedError):
        await ALL_KEYS.authenticate(bearer(issued("ES256", key=stranger)))


class ChangingKeys(FixedKeys):
    """Keys that change."""

    def __init__(self, *keys: SigningKey) -> None:
        super().__init__(keys)
        self.asked = 0

    @property
    def version(self) -> int:  # type: ignore[override]
        return len(self._keys)

    async def keys(self, algorithm: str, kid: str | None) -> Sequence[SigningKey]:
        self.asked += 1
        return await super().keys(algorithm, kid)

    def replace(self, *keys: SigningKey) -> None:
        self._keys = keys


async def test_a_verified_token_is_remembered_until_the_keys_change() -> None:
    source = ChangingKeys(shared_key(SECRET))
    provider = JwtProvider([("jwt", source)], remembered=2)
    first, second, third = (token(n=number) for number in range(3))

    for text in (first, first, second, first, third, first):
        assert await provider.authenticate(bearer(text)) is not None
    assert source.asked == 3
    assert await provider.authenticate(bearer(second)) is not None
    assert source.asked == 4

    source.replace()
    assert await provider.authenticate(bearer(first)) is None


async def test_a_remembered_token_expires() -> None:
    provider = made()
    chain = CredentialChain([provider])
    text = token()
    principal = await chain.authenticate(bearer(text))

    provider._known = {
        digest: replace(principal, expires_at=time.time() - 1) for digest in provider._known
    }
    with pytest.raises(UnauthenticatedError, match="expired"):
        await chain.authenticate(bearer(text))


@given(
    st.text(max_size=60) | st.text(st.characters(codec="utf-8"), max_size=60).map(segment),
    st.integers(0, 2),
    st.booleans(),
)
async def test_any_part_of_a_token_may_be_anything(part: str, place: int, anew: bool) -> None:
    parts = token().split(".")
    if parts[place] == part:
        return
    parts[place] = part
    if anew and place < 2:
        message = ".".join(parts[:2]).encode("utf-8", "surrogatepass")
        mac = hmac.new(SECRET.encode(), message, hashlib.sha256).digest()
        parts[2] = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    with pytest.raises(UnauthenticatedError):
        await CredentialChain([TOKENS]).authenticate(bearer(".".join(parts)))


async def test_no_text_of_a_refusal_or_a_provider_has_a_secret_or_the_token() -> None:
    text = token(x="secret-claim")[:-2]
    with pytest.raises(UnauthenticatedError) as error:
        await TOKENS.authenticate(bearer(text))

    trace = "".join(traceback.format_exception(error.value))
    for part in (*text.split("."), SECRET):
        assert part not in trace
        assert part not in repr(vars(TOKENS))
