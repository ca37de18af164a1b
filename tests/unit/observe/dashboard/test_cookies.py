from __future__ import annotations

import pytest

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, UnauthenticatedError
from kailash_mcp_prod.observe.dashboard.cookies import (
    IDLE_SECONDS,
    LONGEST_SECONDS,
    MAX_CREDENTIAL,
    RENEWED_SECONDS,
    LogIns,
)

SECRET = b"a-secret-of-more-than-thirty-two-bytes"
KEY = "the-key-of-alice-0123"


class OneKey:
    """Knows one credential, as a key or as a token."""

    def __init__(self, *, as_key: bool = False) -> None:
        self.good: str | None = KEY
        self.as_key = as_key
        self.asked: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.asked.append(credentials)
        shown = credentials.api_key if self.as_key else credentials.bearer_token
        if shown is None or shown != self.good:
            raise UnauthenticatedError("No.")
        return Principal("key:alice", frozenset({"*"}))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def log_ins(keys: OneKey, clock: Clock | None = None, secret: bytes | None = SECRET) -> LogIns:
    return LogIns(keys, secret, clock=clock or Clock())


@pytest.mark.parametrize("as_key", [False, True])
async def test_a_credential_becomes_a_cookie_that_every_replica_opens(as_key: bool) -> None:
    keys = OneKey(as_key=as_key)

    principal, cookie = await log_ins(keys).begin(KEY)
    found, _ = await log_ins(keys).find(cookie)

    assert principal.subject == found.subject == "key:alice"
    assert KEY not in cookie


async def test_a_cookie_of_another_secret_or_that_was_changed_is_nobodys() -> None:
    keys = OneKey()
    _, cookie = await log_ins(keys).begin(KEY)
    other = "A" if cookie[40] != "A" else "B"

    for nobodys in (None, "", "x", "é", cookie[:-4], cookie[:40] + other + cookie[41:]):
        with pytest.raises(UnauthenticatedError):
            await log_ins(keys).find(nobodys)
    with pytest.raises(UnauthenticatedError):
        await log_ins(keys, secret=b"another-secret-of-thirty-two-bytes").find(cookie)
    with pytest.raises(UnauthenticatedError):
        await log_ins(keys, secret=None).find(cookie)


async def test_a_wrong_credential_takes_the_same_work_whatever_it_is() -> None:
    for wrong in ("nothing-like-a-key", "eyJhbGciOiJub25lIn0.e30.", KEY[:-1]):
        keys = OneKey()
        with pytest.raises(UnauthenticatedError):
            await log_ins(keys).begin(wrong)
        assert len(keys.asked) == 2


async def test_only_the_one_refusal_that_counts_is_heard() -> None:
    keys, heard = OneKey(as_key=True), OneKey(as_key=True)
    tried = LogIns(keys, SECRET, heard=heard)

    await tried.begin(KEY)
    with pytest.raises(UnauthenticatedError):
        await tried.begin("wrong-key-0123456789")

    assert [each.api_key for each in heard.asked] == [KEY, "wrong-key-0123456789"]


@pytest.mark.parametrize("wrong", ["two words", "a\nb", "schlüssel", "x" * (MAX_CREDENTIAL + 1)])
async def test_what_can_be_no_credential_is_refused_with_the_field(wrong: str) -> None:
    with pytest.raises(InvalidArgumentsError) as refused:
        await log_ins(OneKey()).begin(wrong)

    assert refused.value.field == "credential"


async def test_the_longest_credential_fits_into_a_cookie() -> None:
    keys = OneKey()
    keys.good = "x" * MAX_CREDENTIAL

    _, cookie = await log_ins(keys).begin(keys.good)

    assert len(f"kailash_dashboard_65535={cookie}") <= 4096


async def test_a_log_in_ends_with_its_credential() -> None:
    keys = OneKey()
    _, cookie = await log_ins(keys).begin(KEY)
    keys.good = None

    with pytest.raises(UnauthenticatedError):
        await log_ins(keys).find(cookie)


async def test_a_log_in_ends_when_it_is_not_used_and_after_half_a_day_in_any_case() -> None:
    clock, keys = Clock(), OneKey()
    tried = log_ins(keys, clock)
    _, cookie = await tried.begin(KEY)
    began = clock.now

    clock.now += RENEWED_SECONDS - 1
    _, login = await tried.find(cookie)
    assert tried.renewed(login) is None
    while clock.now + RENEWED_SECONDS < began + LONGEST_SECONDS:
        clock.now += RENEWED_SECONDS
        _, login = await tried.find(cookie)
        renewed = tried.renewed(login)
        assert renewed is not None
        cookie = renewed
    clock.now = began + LONGEST_SECONDS + 1
    with pytest.raises(UnauthenticatedError):
        await tried.find(cookie)

    _, idle = await tried.begin(KEY)
    clock.now += IDLE_SECONDS + 1
    with pytest.raises(UnauthenticatedError):
        await tried.find(idle)


async def test_a_copy_of_a_cookie_is_worth_nothing_after_the_log_out() -> None:
    clock, keys = Clock(), OneKey()
    tried = log_ins(keys, clock)
    _, cookie = await tried.begin(KEY)
    _, login = await tried.find(cookie)
    clock.now += RENEWED_SECONDS
    renewed = tried.renewed(login)

    assert tried.end(cookie) == login.id
    assert tried.end("nobody's") is None
    for copy in (cookie, renewed):
        with pytest.raises(UnauthenticatedError):
            await tried.find(copy)
    assert KEY not in repr(login)
