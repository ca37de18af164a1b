"""Tells a demonstration: lines for everybody, colours and a bar for who looks at a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kailash_mcp_prod.demo.running import Outcome, Result, Step

_COLOURS: Final = {Outcome.OK: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "yellow"}
_NAME_WIDTH: Final = 24


class Report:
    """The lines of the steps as they end, and below them how far it is.

    Args:
        total: The number of steps.
        console: Where; by default standard output.
    """

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total)
        self._section = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, step: Step) -> None:
        """Tells that a step begins."""
        told = f"{step.section}: {step.name}"
        self._progress.update(self._task, description=told, refresh=True)

    def end(self, result: Result) -> None:
        """Tells how a step went."""
        self._progress.advance(self._task)
        if result.section != self._section:
            self._section = result.section
            self._console.print(f"\n[bold]{escape(result.section)}[/bold]")
        colour = _COLOURS[result.outcome]
        took = f"  [dim]{result.milliseconds:.0f} ms[/dim]" if result.outcome is Outcome.OK else ""
        self._console.print(
            f"  [{colour}]{result.outcome:7}[/{colour}]  {escape(result.name):{_NAME_WIDTH}} "
            f"{escape(_plain(result.detail))}{took}"
        )

    def sum_up(self, results: Sequence[Result]) -> None:
        """Tells how all went."""
        counts = Counter(each.outcome for each in results)
        parts = [
            f"[{_COLOURS[outcome]}]{counts[outcome]} {outcome}[/{_COLOURS[outcome]}]"
            for outcome in Outcome
            if counts[outcome]
        ]
        self._console.print(f"\n{', '.join(parts)}")


def _plain(text: str) -> str:
    """A text of the server's, without what would move the cursor."""
    return "".join(each if each.isprintable() else " " for each in text)
