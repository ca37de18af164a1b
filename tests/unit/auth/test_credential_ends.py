from __future__ import annotations

import asyncio
import time

import pytest

from kailash_mcp_prod.auth.credential_ends import CredentialEnds


@pytest.fixture
def ends() -> CredentialEnds:
    return CredentialEnds()


def test_an_end_is_told_once_to_all_who_wait_and_at_once_to_who_comes_late(
    ends: CredentialEnds,
) -> None:
    told: list[str] = []
    ends.on_end("a", lambda: told.append("first"))
    ends.on_end("a", lambda: told.append("second"))
    ends.on_end("b", lambda: told.append("other"))
    forget = ends.on_end("a", lambda: told.append("forgotten"))
    forget()
    forget()

    ends.end("a")
    ends.end("a")
    ends.on_end("a", lambda: told.append("late"))()

    assert told == ["first", "second", "late"]
    assert ends.ended("a")
    assert not ends.ended("b")
    assert ends.watched


def test_nothing_is_left_of_who_no_longer_waits(ends: CredentialEnds) -> None:
    ends.on_end("a", lambda: None)()

    assert not ends.watched


async def test_an_end_may_come_later_and_be_put_off_no_more(ends: CredentialEnds) -> None:
    over = asyncio.Event()
    ends.on_end("a", over.set)
    ends.end_at("a", time.time() + 3600)
    assert not ends.ended("a")
    ends.end_at("a", time.time() + 0.01)
    ends.end_at("b", time.time() + 3600)

    async with asyncio.timeout(5):
        await over.wait()
    assert ends.ended("a")
    ends.close()


def test_everybody_is_told_when_nobody_knows_any_more(ends: CredentialEnds) -> None:
    told: list[str] = []
    ends.on_end("a", lambda: told.append("a"))
    ends.on_end("b", lambda: told.append("b"))

    ends.end_all_watched()

    assert told == ["a", "b"]
    assert not ends.watched
    assert not ends.ended("a")


def test_ends_of_credentials_that_are_over_anyway_are_forgotten(ends: CredentialEnds) -> None:
    for number in range(5000):
        ends.end(f"old{number}", until=time.time() - 7200)
    ends.end("new", until=time.time() + 10)
    ends.end("ever")

    assert len(ends._ended) < 1100
    assert ends.ended("new")
    assert ends.ended("ever")
