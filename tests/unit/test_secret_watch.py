"""The watch finds what it is there for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.observe.logs import get_logger
from tests.secret_watch import WATCH, SecretWatch

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What the watch has found, which the test expects."""
    yield WATCH.found
    WATCH.found.clear()


def test_credentials_and_secret_settings_are_known(lines: list[str]) -> None:
    Credentials(api_key=f"{SECRET}-1")
    Credentials(authorization=f"Bearer {SECRET}-2")
    SecretStr(f"{SECRET}-3")
    for number in (1, 2, 3):
        logging.getLogger("somebody").warning("said %s", f"{SECRET}-{number}")
    assert len(lines) == 3


def test_our_own_lines_are_looked_through_from_debug_up(lines: list[str]) -> None:
    WATCH.know(SECRET)
    get_logger("kailash_mcp_prod.some").debug("event", token=SECRET)
    assert lines


def test_an_exception_is_looked_through(lines: list[str]) -> None:
    WATCH.know(SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("kailash_mcp_prod").exception("broke")
    assert lines


@pytest.mark.parametrize(
    "text",
    [
        "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0",
        "authorization: bearer abcdefghijklmnop",
        "kmp_0123456789abcdef_abcdefghijklmnopqrstuvwxyz",
        "can't open postgresql://app:hunter22@db:5432/app",
    ],
)
def test_what_looks_like_a_secret_is_found(text: str) -> None:
    watch = SecretWatch()
    watch.look(text)
    with pytest.raises(AssertionError, match="a secret was logged"):
        watch.check()


@pytest.mark.parametrize("text", ["Bearer tokens are welcome", "redis://localhost:6379", "a:b@c"])
def test_plain_words_are_not(text: str) -> None:
    watch = SecretWatch()
    watch.look(text)
    watch.check()


def test_the_secrets_of_a_servers_environment_are_known() -> None:
    watch = SecretWatch()
    watch.know_all(
        {
            "API_KEYS": f'{{"{SECRET}-a": {{}}}}',
            "JWT_SECRET": f"{SECRET}-b",
            "DATABASE_URL": f"postgresql://app:{SECRET}-c@db/app",
        }
    )
    for letter in "abc":
        watch.look(f"{SECRET}-{letter}")
    assert len(watch.found) == 3
