"""A workflow session and its steps, as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConflictError
from kailash_mcp_prod.sessions.identity import owner_digest
from kailash_mcp_prod.sessions.workflow_config import SessionConfig

Status = Literal["active", "compensating", "compensated", "compensation_failed"]
StepStatus = Literal["running", "done", "failed"]

MAX_RESULT_BYTES: Final = 1024 * 1024
"""A longer result of a step is not kept; the step is, and so is that it was done."""

MAX_SESSION_BYTES: Final = 16 * 1024 * 1024


class MovedOnError(ConflictError):
    """Somebody else has gone on with the session meanwhile; nothing was changed."""

    retryable = True


def moved_on() -> MovedOnError:
    """The error for who comes second."""
    return MovedOnError(
        "Another call drives this workflow session right now. Nothing was changed. Try again.",
        field="workflow_session_id",
        retry_after_seconds=1,
    )


def owner_of(principal: Principal) -> str:
    """A name for whoever may go on with a session of the principal: its owner's digest."""
    return owner_digest(principal)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was begun.

    `path` is its name, with those of the steps around it before it. `digest` stands for its
    configuration. `result` is JSON; `None` for a step that is done says that it was too long.
    """

    path: str
    number: int
    type: str
    digest: str
    status: StepStatus
    started_at: float
    result: bytes | None = None
    error: Mapping[str, Any] | None = None
    undo: Any = None
    call: str | None = None
    token: str | None = None
    lease_until: float = 0
    finished_at: float | None = None

    @property
    def size(self) -> int:
        """How many bytes of it are kept, of those that have no other bound."""
        undo = 0 if self.undo is None else len(msgspec.json.encode(self.undo))
        return undo + len(self.result or b"")

    @property
    def is_part(self) -> bool:
        """Whether it stands inside another step."""
        return "/" in self.path

    def undoing(self, owner: str) -> Any:
        """What undoes it, if it is for that owner to do; see `WorkflowStore.transfer`."""
        if isinstance(self.undo, Mapping) and "of" in self.undo:
            return self.undo["step"] if self.undo["of"] == owner else None
        return self.undo

    def value(self) -> Any:
        """The result.

        Raises:
            ConflictError: It was too long to be kept.
        """
        if self.result is None:
            raise ConflictError(
                f"The step {self.path} is done, and its result was too long to be kept. Read the "
                "records.",
                details={"outcome": "done"},
            )
        return msgspec.json.decode(self.result)


@dataclass(frozen=True, slots=True)
class Session:
    """A workflow session as it stands at one `version`.

    `result_bytes` is the size of its steps, also of those inside others.
    """

    id: str
    owner: str
    agent_id: str | None
    workflow_type: str
    status: Status
    config: SessionConfig
    version: int
    result_bytes: int
    created_at: float
    updated_at: float
    expires_at: float
    error: Mapping[str, Any] | None = None
    steps: Mapping[str, Step] = field(default_factory=dict)
    last: Step | None = None
    held: Step | None = None
    last_number: int = 0

    def with_steps(self, stored: Iterable[Step]) -> Session:
        """The session with steps that were stored.

        Noted here, so that a long session takes no longer at each step: `last` is the last one that
        was done, `held` the one that is running. Steps inside others are neither.
        """
        steps, last, held, number = dict(self.steps), self.last, self.held, self.last_number
        size = self.result_bytes
        for step in stored:
            before = steps.get(step.path)
            size += step.size - (0 if before is None else before.size)
            steps[step.path] = step
            if step.is_part:
                continue
            number = max(number, step.number)
            if step.status == "running":
                held = step
            elif held is not None and held.path == step.path:
                held = None
            if step.status == "done" and (last is None or step.number >= last.number):
                last = step
        return replace(
            self, steps=steps, last=last, held=held, last_number=number, result_bytes=size
        )


def require_room(size: int) -> None:
    """Sees that a session of that size is not too large.

    Raises:
        ConflictError: It is.
    """
    if size > MAX_SESSION_BYTES:
        raise ConflictError(
            f"The results of this workflow session come to more than {MAX_SESSION_BYTES} bytes, "
            "those of steps inside others and what undoes them included. Go on in a new one.",
            details={"limit": MAX_SESSION_BYTES},
        )
