"""Undoes what the steps of a session have done: their `compensate`, the last step first.

How far that has come is stored, so it goes on where it was when the server broke down: the next
call that drives the session sees to it.
"""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NoReturn

from kailash_mcp_prod.errors import ConflictError, ServerError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.sessions.steps import parse_step
from kailash_mcp_prod.sessions.steps_checks import part_of
from kailash_mcp_prod.sessions.steps_course import Course, TopKeeper
from kailash_mcp_prod.sessions.steps_policy import OnError
from kailash_mcp_prod.sessions.steps_running import StepRunner
from kailash_mcp_prod.sessions.steps_scope import Scope
from kailash_mcp_prod.sessions.workflow_state import MovedOnError, Session, Step

log = get_logger(__name__)

_UNDO: Final = "~undo/"
_RETRIES: Final = OnError(attempts=3)


class Compensation:
    """Runs the steps that undo others.

    Args:
        runner: Runs steps.
    """

    def __init__(self, runner: StepRunner) -> None:
        self._runner = runner

    async def run(self, course: Course, failure: ServerError) -> NoReturn:
        """Undoes what there is to undo, and then raises the failure for which that is done.

        Raises:
            ServerError: The failure, with the names of the steps that were undone.
        """
        undone = await self._undo(course)
        told = copy.copy(failure)
        told.details = {**(failure.details or {}), "compensated": undone}
        raise told from failure

    async def resume(self, course: Course) -> NoReturn:
        """Goes on with a session that was not finished undoing; it takes no further steps.

        Raises:
            ConflictError: The session is over.
        """
        if course.session.status != "compensated":
            await self._undo(course)
        error = course.session.error or {}
        raise ConflictError(
            "This workflow session has failed, and what its steps had done was undone. Make a new "
            "one.",
            field="workflow_session_id",
            details={"status": "compensated", "error": dict(error)},
        )

    async def _undo(self, course: Course) -> list[str]:
        undone = []
        # What was done inside of the step that failed, too.
        done = course.session.with_steps(course.later.values())
        for step in _to_undo(done):
            try:
                await self._undo_one(course, step)
            except MovedOnError:
                raise
            except ServerError as failure:
                log.warning("compensation_failed", code=failure.code)
                course.session = await course.store.turn(
                    replace(course.session, status="compensation_failed")
                )
                raise ConflictError(
                    f"What the step {step.path} had done could not be undone: {failure.message} "
                    "Mend that and execute any step to go on, or undo it yourself.",
                    details={"step": step.path, "code": failure.code},
                ) from failure
            undone.append(step.path)
        course.session = await course.store.turn(replace(course.session, status="compensated"))
        return undone

    async def _undo_one(self, course: Course, step: Step) -> None:
        undo = step.undoing(course.session.owner)
        config = parse_step(undo, self._runner.registry.types, f"steps.{step.path}.compensate")
        path = _path(step)
        attempt = 0
        while True:
            attempt += 1
            scope = Scope(course.session, {"result": step.value()})
            keep = TopKeeper(course, part_of(course, config, path), keeps_result=False)
            try:
                if config.type in {"dataflow_operation", "tool"}:
                    prepared = self._runner.prepare(course, config, scope)
                    await self._runner.single(course, config, path, prepared, keep)
                else:
                    result = await self._runner.body(course, config, path, scope)
                    await keep(result, call=None)
                    keep.settle()
                return
            except MovedOnError:
                raise
            except ServerError as failure:
                pause = _RETRIES.pause_after(attempt, failure)
                if pause is None:
                    raise
                await asyncio.sleep(pause)


def _path(step: Step) -> str:
    return _UNDO + step.path.replace("/", ".")


def _to_undo(session: Session) -> Iterator[Step]:
    """The steps that are done and have something to undo it, the last one first."""
    inside: defaultdict[str, list[Step]] = defaultdict(list)
    for step in session.steps.values():
        if step.is_part:
            inside[step.path.partition("/")[0]].append(step)
    for top in sorted(session.steps.values(), key=lambda each: each.number, reverse=True):
        if top.is_part:
            continue
        last_first = sorted(inside[top.path], key=lambda each: each.finished_at or 0, reverse=True)
        for step in (top, *last_first):
            undone = session.steps.get(_path(step))
            if step.status == "done" and undone is None and step.undoing(session.owner) is not None:
                yield step
