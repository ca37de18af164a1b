"""Executes the steps of workflow sessions, each acknowledged one once and only once."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any, Final

from kailash_mcp_prod.errors import ConflictError, ServerError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.sessions.steps import StepConfig, parse_step
from kailash_mcp_prod.sessions.steps_checks import json_value, refuse_repetition, timed
from kailash_mcp_prod.sessions.steps_compensation import Compensation
from kailash_mcp_prod.sessions.steps_course import NO_WRITE, Course, TopKeeper, holding
from kailash_mcp_prod.sessions.steps_policy import OnError
from kailash_mcp_prod.sessions.steps_running import StepRunner
from kailash_mcp_prod.sessions.steps_scope import Scope
from kailash_mcp_prod.sessions.workflow_cache import SeenSessions
from kailash_mcp_prod.sessions.workflow_state import (
    MovedOnError,
    Session,
    Step,
    moved_on,
    owner_of,
)
from kailash_mcp_prod.sessions.workflow_store import LEASE_SECONDS, WorkflowStore
from kailash_mcp_prod.tools.spec import ToolCall

log = get_logger(__name__)

MAX_STEPS: Final = 1000
_TRIES: Final = 8
_LOOK_AGAIN_SECONDS: Final = 0.02


class StepEngine:
    """Executes steps.

    Args:
        store: The sessions.
        runner: Runs what steps ask for.
        caching_seconds: How long a session may use what an earlier step has read.
    """

    def __init__(
        self,
        store: WorkflowStore,
        runner: StepRunner,
        *,
        caching_seconds: float,
    ) -> None:
        self._store = store
        self._runner = runner
        self._compensation = Compensation(runner)
        self._caching_seconds = caching_seconds
        self.seen = SeenSessions()

    async def execute(
        self, call: ToolCall, session_id: str, name: str, given: Any
    ) -> dict[str, Any]:
        """Does a step, or says what came of it if it was done before.

        Args:
            call: The call that asks for it.
            session_id: The session.
            name: The step's name.
            given: Its configuration as JSON.

        Raises:
            ServerError: The step failed, or can't be done now.
        """
        config = parse_step(given, self._runner.registry.types)
        owner = owner_of(call.principal)
        patience = asyncio.get_running_loop().time() + 2 * LEASE_SECONDS
        for number in range(_TRIES):
            known = self.seen.get(session_id, owner) if number == 0 else None
            if known is not None and name in known.steps:
                # Nothing will be stored that would show whether the session is still the caller's.
                known = None
            session = known or await self._store.find(session_id, owner)
            course = Course(call, self._store, session, self._caching_seconds)
            try:
                result = await self._execute(course, name, config)
            except MovedOnError:
                self.seen.drop(session_id, owner)
                if number == _TRIES - 1:
                    raise
                await self._wait(course, name, config, patience)
            except ServerError:
                self.seen.drop(session_id, owner)
                # Known sessions may be out of date, and what was missing be there now.
                if known is None or course.session is not known:
                    raise
                if await self._store.find(session_id, owner) == known:
                    raise
            else:
                self._notice(course)
                return result
        raise moved_on()

    def _notice(self, course: Course) -> None:
        if course.holder is None and not course.later:
            self.seen.put(course.session)
        else:
            # Its parts are only known to the database.
            self.seen.drop(course.session.id, course.session.owner)

    async def _wait(self, course: Course, name: str, config: StepConfig, patience: float) -> None:
        """Waits for whoever was first; for a step that was interrupted, until it can go on."""
        session = await self._store.find(course.session.id, course.session.owner)
        step = session.steps.get(name)
        if step is None or step.status != "running" or step.digest != config.digest:
            if session.held is not None:
                raise moved_on()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS * secrets.randbelow(10) / 10)
            return
        left = step.lease_until - self._store.clock()
        if left > 0:
            if asyncio.get_running_loop().time() + left > patience:
                raise moved_on()
            await asyncio.sleep(left + _LOOK_AGAIN_SECONDS)

    async def _execute(self, course: Course, name: str, config: StepConfig) -> dict[str, Any]:
        session = course.session
        if session.status != "active":
            return await self._compensation.resume(course)
        before = session.steps.get(name)
        if before is not None and before.status == "done":
            return _repeated(session, before, config)
        self._check_turn(session, name, config, before)
        policy = config.on_error or session.config.on_error
        again = before if before is not None and before.status == "running" else None
        step = Step(
            path=name,
            number=session.last_number + 1 if again is None else again.number,
            type=config.type,
            digest=config.digest,
            status="running",
            started_at=self._store.clock(),
            undo=config.compensate,
        )
        try:
            result, cached = await self._attempts(course, config, step, policy)
        except MovedOnError:
            raise
        except ServerError as failure:
            return await self._failed(course, step, policy, failure)
        answer = {
            "success": True,
            "result": result,
            "workflow_session_id": session.id,
            "step_name": name,
            "step_number": step.number,
        }
        return {**answer, "cached": True} if cached else answer

    def _check_turn(
        self, session: Session, name: str, config: StepConfig, before: Step | None
    ) -> None:
        held = session.held
        if held is not None:
            if held.lease_until > self._store.clock():
                raise moved_on()
            if before is None or before.path != held.path:
                raise ConflictError(
                    f"The step {held.path} was interrupted. Execute it again, as it was, before "
                    "other steps.",
                    field="step_name",
                    details={"interrupted_step": held.path},
                )
            if held.digest != config.digest:
                raise ConflictError(
                    f"The step {name} was interrupted with another step_config. Execute it as it "
                    "was.",
                    field="step_config",
                )
        if before is not None and before.digest != config.digest and _has_calls(session, name):
            raise ConflictError(
                f"The step {name} failed after it had done a part of its work with another "
                "step_config. Execute it as it was, or give the new one another name.",
                field="step_config",
            )
        if before is None and session.last_number >= MAX_STEPS:
            raise ConflictError(
                f"This workflow session has {MAX_STEPS} steps. Go on in a new one.",
                field="workflow_session_id",
            )

    async def _attempts(
        self, course: Course, config: StepConfig, step: Step, policy: OnError
    ) -> tuple[Any, bool]:
        attempt = 0
        while True:
            attempt += 1
            try:
                async with timed(config):
                    return await self._once(course, config, step)
            except MovedOnError:
                raise
            except ServerError as failure:
                pause = policy.pause_after(attempt, failure)
                if pause is None:
                    raise
                await course.call.peer.log(
                    "warning", {"step": step.path, "attempt": attempt, "code": failure.code}
                )
                await asyncio.sleep(pause)

    async def _once(self, course: Course, config: StepConfig, step: Step) -> tuple[Any, bool]:
        scope = Scope(course.session)
        if config.is_atomic:
            keep = TopKeeper(course, step)
            return await self._runner.atomic.run(course, config, scope, keep), False
        if config.type in {"dataflow_operation", "tool"}:
            prepared = self._runner.prepare(course, config, scope)
            if self._runner.is_plain(prepared.tool):
                keep = TopKeeper(course, step)
                return await self._runner.single(course, config, step.path, prepared, keep)
        return await self._held(course, config, step, scope), False

    async def _held(self, course: Course, config: StepConfig, step: Step, scope: Scope) -> Any:
        """A step of several transactions: held while it runs, so that it runs once at a time."""
        before = course.session.steps.get(step.path)
        if (
            before is not None
            and before.status == "running"
            # An attempt of this very call has ended when the next one begins.
            and before.token != course.token
            and not self._runner.may_repeat(course, config, scope)
        ):
            refuse_repetition(config, step.path)
        lease_until = self._store.clock() + LEASE_SECONDS
        held = replace(step, token=course.token, lease_until=lease_until)
        course.session = await self._store.put(course.session, held)
        async with holding(course, held):
            if config.type == "tool":
                prepared = self._runner.prepare(course, config, scope)
                keep = TopKeeper(course, held)
                result, _ = await self._runner.single(course, config, step.path, prepared, keep)
                return result
            value = await self._runner.body(course, config, step.path, scope)
            result = json_value(value, config)
            wrote = None if config.type == "workflow" or not config.parts else NO_WRITE
            keep = TopKeeper(course, held)
            await keep(result, call=wrote)
            keep.settle()
            return result

    async def _failed(
        self, course: Course, step: Step, policy: OnError, failure: ServerError
    ) -> dict[str, Any]:
        error = failure.to_dict(course.call.request_id)
        now = self._store.clock()
        # Of a step that failed there is nothing to undo, and to say so takes no room.
        failed = replace(
            step, status="failed", error=error, finished_at=now, call=NO_WRITE, undo=None
        )
        compensates = policy.action == "compensate"
        try:
            course.session = await self._store.put(
                course.session,
                replace(failed, token=course.token),
                status="compensating" if compensates else None,
                error=error if compensates else None,
            )
        except ServerError as unkept:
            log.info("failed_step_not_kept", code=unkept.code)
            if policy.action != "stop":
                raise
        if compensates:
            return await self._compensation.run(course, failure)
        if policy.action == "continue":
            return {
                "success": False,
                "result": None,
                "error": error,
                "workflow_session_id": course.session.id,
                "step_name": step.path,
                "step_number": step.number,
            }
        raise failure


def _has_calls(session: Session, name: str) -> bool:
    """Whether code inside a step has written something, which it would not write again."""
    start = f"{name}/"
    return any(
        path.startswith(start) and step.type.startswith("call ")
        for path, step in session.steps.items()
    )


def _repeated(session: Session, step: Step, config: StepConfig) -> dict[str, Any]:
    """What a step came to that was done before."""
    if step.digest != config.digest:
        raise ConflictError(
            f"The step {step.path} was done already, with another step_config. Give a further step "
            "another name.",
            field="step_name",
        )
    return {
        "success": True,
        "result": step.value(),
        "workflow_session_id": session.id,
        "step_name": step.path,
        "step_number": step.number,
        "repeated": True,
    }
