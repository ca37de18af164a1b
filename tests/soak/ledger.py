"""What agents were told, and whether the database agrees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5


@dataclass(slots=True)
class Note:
    """A note as its agent knows it.

    Attributes:
        tenant: Whose it is.
        id: Its id; `None` until its creation was acknowledged.
        tried: The highest version that was ever sent.
        told: The highest version that was acknowledged.
        going: Whether its deletion was sent.
        gone: Whether its deletion was acknowledged.
    """

    tenant: str
    id: int | None = None
    tried: int = 0
    told: int = 0
    going: bool = False
    gone: bool = False


@dataclass(slots=True)
class Ledger:
    """All notes by name, what went wrong, and how often what was answered."""

    notes: dict[str, Note] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def note(self, record: dict[str, Any], tenant: str) -> None:
        """Looks at a record that an agent of a tenant was shown."""
        known = self.notes.get(str(record["name"]))
        if known is None or known.tenant != tenant:
            self.faults.append(f"{tenant} was shown the foreign record {record['name']}")

    def fresh(self, record: dict[str, Any], told: int) -> None:
        """Looks at a record that was asked for after a version of it was acknowledged."""
        if record["version"] < told:
            self.faults.append(
                f"{record['name']} was shown in version {record['version']} after {told}"
            )

    def compare(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Compares with what the database holds in the end: tenant, name and version of each."""
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for tenant, name, version in rows:
            found[name].append((tenant, version))
        for name, held in found.items():
            if len(held) > 1:
                self.faults.append(f"{name} is there {len(held)} times")
            if name not in self.notes:
                self.faults.append(f"{name} was never sent")
        for name, note in self.notes.items():
            held = found.get(name, [])
            if note.id is not None and not held and not note.going:
                self.faults.append(f"{name} was acknowledged and is lost")
            if note.gone and held:
                self.faults.append(f"{name} was deleted and is there")
            for tenant, version in held:
                if tenant != note.tenant:
                    self.faults.append(f"{name} is {tenant}'s, not {note.tenant}'s")
                if not note.told <= version <= note.tried:
                    told = f"{note.told} was acknowledged and {note.tried} sent"
                    self.faults.append(f"{name} has version {version}, but {told}")

    def summary(self) -> dict[str, Any]:
        """The figures."""
        times = sorted(self.seconds)
        return {
            "calls": sum(self.answers.values()),
            "answers": dict(self.answers.most_common()),
            "notes": len(self.notes),
            "acknowledged": sum(note.id is not None for note in self.notes.values()),
            "deleted": sum(note.gone for note in self.notes.values()),
            "p50_ms": round(1000 * _quantile(times, 0.5), 1),
            "p99_ms": round(1000 * _quantile(times, 0.99), 1),
            "faults": len(self.faults),
            "first_faults": self.faults[:SHOWN],
        }


def _quantile(times: list[float], share: float) -> float:
    return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0
