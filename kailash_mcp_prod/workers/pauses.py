"""How long the place of a worker stays empty before another one is started in it."""

from __future__ import annotations

from typing import Final

SETTLED_SECONDS: Final = 30.0
_FIRST: Final = 0.5
_LONGEST: Final = 30.0


class Pause:
    """That of one place: none after a worker that served for long, else longer each time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def after_death(self, served: float) -> float:
        """The pause after a worker that died when it had served for so many seconds."""
        if served < SETTLED_SECONDS:
            return self.after_failure()
        self.seconds = 0.0
        return self.seconds

    def after_failure(self) -> float:
        """The pause after a worker that could not start."""
        self.seconds = min(max(2 * self.seconds, _FIRST), _LONGEST)
        return self.seconds
