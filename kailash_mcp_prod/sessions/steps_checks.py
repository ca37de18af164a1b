"""What holds of every step: its time, its repetition, its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec

from kailash_mcp_prod.errors import CallTimeoutError, ConflictError, InternalError
from kailash_mcp_prod.sessions.steps import StepConfig
from kailash_mcp_prod.sessions.steps_course import Course
from kailash_mcp_prod.sessions.workflow_state import Step


@asynccontextmanager
async def timed(config: StepConfig) -> AsyncIterator[None]:
    """Ends the block after the seconds of a step's configuration, if it has such.

    Raises:
        CallTimeoutError: It took longer.
    """
    if config.timeout_seconds is None:
        yield
        return
    limit = asyncio.timeout(config.timeout_seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise CallTimeoutError(
            f"{config.field}: the step took longer than its timeout_seconds and was stopped. "
            "Execute it again: what it has written is not written twice.",
            field=f"{config.field}.timeout_seconds",
        ) from None


def part_of(course: Course, config: StepConfig, path: str) -> Step:
    """A part that begins."""
    return replace(part_named(course, path, config.type, config.digest), undo=config.compensate)


def part_named(course: Course, path: str, kind: str, digest: str) -> Step:
    """A part that begins, of a type that is not configured."""
    return Step(
        path=path,
        number=0,
        type=kind,
        digest=digest,
        status="running",
        started_at=course.store.clock(),
    )


def refuse_repetition(config: StepConfig, path: str) -> None:
    """Refuses to run again what may have been done, unless the client wants that.

    Raises:
        ConflictError: It does not.
    """
    if not config.repeat_interrupted:
        raise ConflictError(
            f"The step {path} was interrupted, and nobody knows whether it was done. See what it "
            "has changed; to run it again, give repeat_interrupted: true in step_config.",
            field="step_name",
            details={"outcome": "unknown"},
        )


def json_value(value: Any, config: StepConfig) -> Any:
    """The result of an operator's code as JSON.

    Raises:
        InternalError: JSON has no form for it.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as failure:
        raise InternalError(
            f"The result of the {config.type} has no JSON form. Report the request id to the "
            "operator."
        ) from failure
