"""Runs the steps of a demonstration one after the other, and tells how each went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kailash_mcp_prod.demo.stage import Stage

_STEP_SECONDS: Final = 60.0


class Outcome(StrEnum):
    """How a step went."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        section: What it belongs to.
        name: What it does.
        run: Does it, and returns what there is to tell.
        tools: The tools that it calls.
        needs: What earlier steps must have made.
        partner: Whether it takes a second agent.
    """

    section: str
    name: str
    run: Callable[[Stage], Awaitable[str]]
    tools: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    partner: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What has come of a step."""

    section: str
    name: str
    outcome: Outcome
    detail: str
    milliseconds: float


async def run_steps(
    stage: Stage,
    steps: Iterable[Step],
    *,
    begin: Callable[[Step], None],
    end: Callable[[Result], None],
) -> list[Result]:
    """The results of all steps; one that fails does not keep the others from being tried.

    Args:
        stage: Where.
        steps: In their order.
        begin: Told of each step before.
        end: Told of each step after.
    """
    results = []
    for step in steps:
        begin(step)
        begun = time.perf_counter()
        outcome, detail = await _done(stage, step)
        took = (time.perf_counter() - begun) * 1000
        result = Result(step.section, step.name, outcome, detail, round(took, 1))
        end(result)
        results.append(result)
    return results


async def _done(stage: Stage, step: Step) -> tuple[Outcome, str]:
    hidden = [name for name in step.tools if name not in stage.tools]
    if hidden:
        return Outcome.SKIPPED, f"This credential does not see {', '.join(hidden)} here."
    if step.partner and stage.partner is None:
        return Outcome.SKIPPED, "This takes a second agent with a credential of its own."
    if any(name not in stage.made for name in step.needs):
        return Outcome.SKIPPED, "An earlier step that it needs was not done."
    try:
        async with asyncio.timeout(_STEP_SECONDS):
            return Outcome.OK, await step.run(stage)
    except TimeoutError:
        return Outcome.FAILED, f"There was no answer within {_STEP_SECONDS:g} s."
    except Exception as failure:  # noqa: BLE001 - the SDK has many ways to fail
        from kailash_mcp_prod.client import reason_of

        return Outcome.FAILED, reason_of(failure)
