"""Runs all checks at once, each for a limited time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from kailash_mcp_prod.doctor.finding import Finding, failed
from kailash_mcp_prod.doctor.patient import Patient

Check = Callable[[Patient], Awaitable[list[Finding]]]
Result = TypeVar("Result")


async def examine(patient: Patient, seconds: float) -> list[Finding]:
    """The findings of all checks, in a fixed order.

    Args:
        patient: What is examined.
        seconds: How long a check may take.
    """
    from kailash_mcp_prod.doctor.database import check_database
    from kailash_mcp_prod.doctor.installation import check_extras, check_versions
    from kailash_mcp_prod.doctor.places import check_permissions, check_ports
    from kailash_mcp_prod.doctor.redis import check_redis
    from kailash_mcp_prod.doctor.round_trip import check_round_trip
    from kailash_mcp_prod.doctor.settings import check_configuration

    checks: dict[str, Check] = {
        "configuration": check_configuration,
        "versions": check_versions,
        "extras": check_extras,
        "permissions": check_permissions,
        "ports": check_ports,
        "database": check_database,
        "redis": check_redis,
        "round trip": check_round_trip,
    }
    return await run_checks(checks, patient, seconds)


async def run_checks(checks: dict[str, Check], patient: Patient, seconds: float) -> list[Finding]:
    """The findings of some checks; one that fails or takes too long is a finding too."""

    async def limited(name: str, check: Check) -> Sequence[Finding]:
        try:
            async with asyncio.timeout(seconds):
                return await check(patient)
        except TimeoutError:
            return [
                failed(
                    name,
                    f"There was no answer within {seconds:g} s.",
                    "See what holds it up, or give it longer with --timeout.",
                )
            ]
        except Exception as failure:  # noqa: BLE001 - a check that breaks must not hide the others
            # Not its text, which may hold an address with a password.
            return [
                failed(
                    name,
                    f"The check itself failed ({type(failure).__name__}).",
                    "Please report this as a defect, with what is special about your set-up.",
                )
            ]

    found = await asyncio.gather(*(limited(name, check) for name, check in checks.items()))
    return [finding for findings in found for finding in findings]


async def in_thread(work: Callable[[], Result]) -> Result:
    """What blocks, away from the loop; a thread that never ends holds up nobody.

    `asyncio.to_thread` would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def tell(set_it: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            set_it(value)

    def run() -> None:
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001 - raised where it is waited for
            outcome: tuple[Callable[[Any], None], Any] = (done.set_exception, failure)
        else:
            outcome = (done.set_result, result)
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await done
