"""What is exported: families of samples, and what several workers' samples make together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram", "summary", "unknown", "info", "stateset"]
Merge = Literal["sum", "max", "each", "here"]
"""How the gauges of several workers become one: added up, the largest, all of them (they carry
what tells them apart), or that of the worker which answers, because all would say the same."""

ADDED: Final = frozenset({"counter", "histogram", "summary"})
"""The kinds that are always added up, and outlast the worker that has counted them."""


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line of an export."""

    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, array_like=True):
    """All samples of one metric.

    `name` is without `_total`, as Prometheus's own library has it; `unit` ends the name.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    merge: Merge = "sum"
    samples: list[Sample] = msgspec.field(default_factory=list)

    def add(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Adds a sample of a counter or a gauge."""
        name = f"{self.name}_total" if self.kind == "counter" else self.name
        self.samples.append(Sample(name, dict(labels or {}), value))


Families = dict[str, Family]
"""The families by their names, in their order."""

Source = Callable[[], Iterable[Family]]
"""Gives the families of this moment; quick, and called on the event loop."""


def merged(here: Iterable[Family], others: Iterable[Iterable[Family]]) -> Families:
    """The families of all workers together.

    Args:
        here: Those of the worker that answers.
        others: Those of each of the others.
    """
    found: Families = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for number, families in enumerate((here, *others)):
        for family in families:
            if number and family.merge == "here" and family.kind not in ADDED:
                continue
            known = found.setdefault(
                family.name,
                Family(family.name, family.kind, family.help, family.unit, family.merge),
            )
            if known.kind != family.kind:
                continue
            of_family = values.setdefault(family.name, {})
            largest = family.merge == "max" and family.kind not in ADDED
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                before = of_family.get(key)
                if before is None:
                    of_family[key] = sample.value
                elif largest:
                    of_family[key] = max(before, sample.value)
                else:
                    of_family[key] = before + sample.value
    for name, of_family in values.items():
        found[name].samples = [
            Sample(sample, dict(labels), value) for (sample, labels), value in of_family.items()
        ]
    return found


def lasting(families: Iterable[Family]) -> list[Family]:
    """Those that outlast their worker."""
    return [each for each in families if each.kind in ADDED and each.merge != "each"]
