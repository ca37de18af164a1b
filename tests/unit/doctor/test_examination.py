from __future__ import annotations

import asyncio
import threading

import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor.examination import in_thread, run_checks
from kailash_mcp_prod.doctor.finding import Finding, Status, ok
from kailash_mcp_prod.doctor.patient import Patient

PATIENT = Patient(ServerConfig.model_construct(), None, None, {})


async def test_checks_run_at_once_and_are_told_in_order() -> None:
    both = asyncio.Barrier(2)

    async def check(name: str) -> list[Finding]:
        await both.wait()
        return [ok(name, "good")]

    found = await run_checks({"b": lambda _: check("b"), "a": lambda _: check("a")}, PATIENT, 5)

    assert [each.check for each in found] == ["b", "a"]


async def test_a_check_that_takes_too_long_or_breaks_is_a_finding_without_its_text() -> None:
    async def stuck(_: Patient) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def broken(_: Patient) -> list[Finding]:
        raise RuntimeError("postgresql://user:hunter2@host/db")

    slow, bad = await run_checks({"slow": stuck, "bad": broken}, PATIENT, 0.05)

    assert (slow.status, bad.status) == (Status.FAILED, Status.FAILED)
    assert slow.message == "There was no answer within 0.05 s."
    assert bad.message == "The check itself failed (RuntimeError)."


async def test_a_cancelled_examination_is_no_finding() -> None:
    async def check(_: Patient) -> list[Finding]:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_checks({"a": check}, PATIENT, 5)


async def test_work_in_a_thread_returns_and_raises() -> None:
    def fail() -> None:
        raise LookupError("no")

    assert await in_thread(lambda: 3) == 3
    with pytest.raises(LookupError):
        await in_thread(fail)


async def test_a_thread_that_never_ends_holds_up_nobody() -> None:
    forever = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_thread(forever.wait)
    forever.set()
