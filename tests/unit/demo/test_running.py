from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kailash_mcp_prod.demo import running
from kailash_mcp_prod.demo.records import candidates
from kailash_mcp_prod.demo.running import Outcome, Result, Step, run_steps
from kailash_mcp_prod.demo.stage import Stage, StepFailedError

NOBODY: Any = None


async def good(stage: Stage) -> str:
    stage.made["thing"] = 1
    return "done"


async def bad(stage: Stage) -> str:
    raise StepFailedError("The server's own words.")


async def grouped(stage: Stage) -> str:
    raise ExceptionGroup("sdk", [ExceptionGroup("sdk", [ConnectionError("gone")])])


async def stuck(stage: Stage) -> str:
    await asyncio.Event().wait()
    return "never"


async def results_of(*steps: Step, **tools: dict[str, Any]) -> list[Result]:
    told: list[str] = []
    results = await run_steps(
        Stage(NOBODY, None, tools),
        steps,
        begin=lambda step: told.append(step.name),
        end=lambda result: told.append(result.outcome),
    )
    assert told == [word for each in results for word in (each.name, each.outcome)]
    return results


async def test_a_failure_is_told_and_the_others_are_tried() -> None:
    first, second, third = await results_of(
        Step("A", "bad", bad), Step("A", "grouped", grouped), Step("A", "good", good)
    )

    assert (first.outcome, first.detail) == (Outcome.FAILED, "The server's own words.")
    assert (second.outcome, second.detail) == (Outcome.FAILED, "gone")
    assert (third.outcome, third.detail) == (Outcome.OK, "done")


async def test_what_can_t_be_done_is_skipped_with_the_reason() -> None:
    hidden, alone, early, good_one, later = await results_of(
        Step("A", "hidden", good, tools=("known", "unknown")),
        Step("A", "alone", good, partner=True),
        Step("A", "early", good, needs=("thing",)),
        Step("A", "good", good, tools=("known",)),
        Step("A", "later", good, needs=("thing",)),
        known={},
    )

    assert {each.outcome for each in (hidden, alone, early)} == {Outcome.SKIPPED}
    assert hidden.detail == "This credential does not see unknown here."
    assert (good_one.outcome, later.outcome) == (Outcome.OK, Outcome.OK)


async def test_a_step_that_takes_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_STEP_SECONDS", 0.05)

    [result] = await results_of(Step("A", "stuck", stuck))

    assert (result.outcome, result.detail) == (Outcome.FAILED, "There was no answer within 0.05 s.")


def test_well_known_models_go_first_and_unguessable_ones_are_left_out() -> None:
    def tools(model: str, field: dict[str, Any]) -> dict[str, Any]:
        data = {"properties": {"name": field}, "required": ["name"]}
        others = {f"{model}_{each}": {} for each in ("read", "list", "update", "delete")}
        return {f"{model}_create": {"properties": {"data": data}}, **others}

    seen = {
        **tools("Apple", {"type": "string"}),
        **tools("Code", {"type": "string", "pattern": "^x$"}),
        **tools("Company", {"type": "string"}),
        "Readable_create": {},
        "Apple_bulk_create": {},
    }

    assert [model for model, _ in candidates(seen, "mark")] == ["Company", "Apple"]
