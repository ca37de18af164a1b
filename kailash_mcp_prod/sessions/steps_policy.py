"""What happens when a step fails: `on_error`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.records.problems import shown

Action = Literal["stop", "continue", "compensate"]

MAX_ATTEMPTS: Final = 10
MAX_BACKOFF_SECONDS: Final = 60.0
_ACTIONS: Final = ("stop", "retry", "compensate", "continue")
_KEYS: Final = ("action", "attempts", "backoff_seconds", "max_backoff_seconds", "then")


@dataclass(frozen=True, slots=True)
class OnError:
    """How often a step is tried, and what follows when all of it has failed.

    Only failures that a retry can mend are tried again. `backoff_seconds` doubles each time.
    """

    action: Action = "stop"
    attempts: int = 1
    backoff_seconds: float = 0.2
    max_backoff_seconds: float = 5.0

    def pause_after(self, attempt: int, failure: ServerError) -> float | None:
        """How long to wait before another attempt; `None` when there is none.

        Args:
            attempt: The number of the attempt that failed, from 1.
            failure: What it failed with.
        """
        if attempt >= self.attempts or not failure.retryable:
            return None
        grown = self.backoff_seconds * 2.0 ** (attempt - 1)
        # Some more or less, so that many that failed together do not come back together.
        pause = min(grown, self.max_backoff_seconds) * random.uniform(0.5, 1)  # noqa: S311
        return max(pause, failure.retry_after_seconds or 0)


def parse_on_error(given: Any, field: str) -> OnError:
    """The policy from its JSON: a word, or an object with `action`.

    Args:
        given: Such as `"continue"`, or `{"action": "retry", "attempts": 3, "then": "compensate"}`.
        field: Where it stands in the arguments.

    Raises:
        InvalidArgumentsError: It is neither.
    """
    if isinstance(given, str):
        given = {"action": given}
    if not isinstance(given, Mapping):
        raise _wrong(field, f"use one of {', '.join(_ACTIONS)}, or an object with action")
    for name in given:
        if name not in _KEYS:
            raise InvalidArgumentsError(
                f"{field}.{shown(str(name))}: unknown argument: remove it or mend its name.",
                field=f"{field}.{shown(str(name))}",
                details={"known_fields": list(_KEYS)},
            )
    action, then = given.get("action", "retry"), given.get("then", "stop")
    if action not in _ACTIONS:
        raise _wrong(f"{field}.action", f"use one of {', '.join(_ACTIONS)}")
    if then not in {"stop", "compensate", "continue"}:
        raise _wrong(f"{field}.then", "use one of stop, compensate, continue")
    retries = action == "retry"
    default = 3 if retries else 1
    attempts = _number(given, "attempts", default, least=1, most=MAX_ATTEMPTS, field=field)
    pauses = [
        _number(given, name, usual, least=0, most=MAX_BACKOFF_SECONDS, field=field)
        for name, usual in (("backoff_seconds", 0.2), ("max_backoff_seconds", 5.0))
    ]
    return OnError(then if retries else action, int(attempts), *pauses)


def _number(
    given: Mapping[str, Any], name: str, default: float, *, least: float, most: float, field: str
) -> float:
    value = given.get(name, default)
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not least <= value <= most or (name == "attempts" and value != int(value)):
        kind = "a whole number" if name == "attempts" else "a number"
        raise _wrong(f"{field}.{name}", f"use {kind} from {least:g} to {most:g}")
    return float(value)


def _wrong(field: str, fix: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(f"{field}: {fix}.", field=field)
