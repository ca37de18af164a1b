"""What was judged, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Counts what passed, and keeps what did not.

    Attributes:
        title: Who judged what.
        passed: How many checks passed.
        failures: One line for each that did not.
        remarks: What is worth a line although it counts for nothing.
    """

    title: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        if holds:
            self.passed += 1
        else:
            self.failures.append(what)

    def print(self) -> None:
        print(f"{self.title}: {self.passed} passed, {len(self.failures)} failed")
        for line in self.failures:
            print(f"  FAILED {line}")
        for line in self.remarks:
            print(f"  {line}", flush=True)
