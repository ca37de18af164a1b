"""What the references of a step may refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kailash_mcp_prod.sessions.workflow_state import Session, Step


class Results(Mapping[str, Any]):
    """The results of a session's steps by name, read when they are asked for.

    A step that failed, and after which the session went on, has `error`.

    Args:
        session: The session.
    """

    def __init__(self, session: Session) -> None:
        self._steps = session.steps
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            step = self._steps[name]
            if not _is_seen(step):
                raise KeyError(name)
            self._read[name] = {"error": step.error} if step.status == "failed" else step.value()
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, step in self._steps.items() if _is_seen(step))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _is_seen(step: Step) -> bool:
    return not step.is_part and step.status != "running"


class Scope(Mapping[str, Any]):
    """`steps`, `previous_result` and `session`.

    Args:
        session: The session.
        further: Other names, such as `result` for what undoes a step.
    """

    def __init__(self, session: Session, further: Mapping[str, Any] | None = None) -> None:
        self._results: Mapping[str, Any] = Results(session)
        self._further = dict(further or {})
        self._previous = None if session.last is None else session.last.path
        self._session = {
            **session.config.variables,
            "id": session.id,
            "agent_id": session.agent_id,
            "workflow_type": session.workflow_type,
        }

    def __getitem__(self, name: str) -> Any:
        if name in self._further:
            return self._further[name]
        if name == "steps":
            return self._results
        if name == "session":
            return self._session
        if name == "previous_result" and self._previous is not None:
            return self._results[self._previous]
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        names = ["steps", "session", *(["previous_result"] if self._previous else [])]
        return iter(dict.fromkeys([*names, *self._further]))

    def __len__(self) -> int:
        return len(list(iter(self)))


class InnerScope(Mapping[str, Any]):
    """A scope inside a step: its own parts come before the steps of the session.

    Args:
        outer: The scope around it.
    """

    def __init__(self, outer: Mapping[str, Any]) -> None:
        self._outer = outer
        self._parts: dict[str, Any] = {}
        self._previous: list[Any] = []

    def add(self, name: str, result: Any) -> None:
        """Makes the result of a part known."""
        self._parts[name] = result
        self._previous = [result]

    def __getitem__(self, name: str) -> Any:
        if name == "steps":
            return _Joined(self._parts, self._outer["steps"])
        if name == "previous_result" and self._previous:
            return self._previous[0]
        return self._outer[name]

    def __iter__(self) -> Iterator[str]:
        own = ["previous_result"] if self._previous else []
        return iter(dict.fromkeys([*self._outer, *own]))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Joined(Mapping[str, Any]):
    def __init__(self, first: Mapping[str, Any], then: Mapping[str, Any]) -> None:
        self._first, self._then = first, then

    def __getitem__(self, name: str) -> Any:
        return self._first[name] if name in self._first else self._then[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._first, *self._then]))

    def __len__(self) -> int:
        return len(list(iter(self)))
