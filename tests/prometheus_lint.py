"""Holds an export against the rules of Prometheus's text format, in the way of `promtool`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_PARTS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}
_NOT_BASE_UNITS = ("_ms", "_milliseconds", "_minutes", "_hours", "_kilobytes", "_mb", "_percent")


def parse(text: str) -> dict[str, Metric]:
    """The families of an export that breaks no rule, by name."""
    problems = list(complaints(text))
    assert problems == []
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    """The sum of the samples of that name with these labels."""
    return sum(
        each.value
        for family in families.values()
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    )


def complaints(text: str) -> Iterator[str]:
    """What is wrong with an export."""
    if not text.endswith("\n"):
        yield "the last line has no end"
    reader = _Lines()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            yield from reader.help(line.removeprefix("# HELP "))
        elif line.startswith("# TYPE "):
            yield from reader.type(line.removeprefix("# TYPE "))
        else:
            yield from reader.sample(line)
    for family in text_string_to_metric_families(text):
        if family.type == "histogram":
            yield from _about_histogram(family)


class _Lines:
    """Line after line, what is wrong with each after those before it."""

    def __init__(self) -> None:
        self._name = self._kind = ""
        self._seen: set[str] = set()

    def help(self, rest: str) -> Iterator[str]:
        self._name, _, told = rest.partition(" ")
        self._kind = ""
        yield from self._new(f"the family {self._name}")
        if not told.strip():
            yield f"{self._name} has no help"
        yield from _about_name(self._name)

    def type(self, rest: str) -> Iterator[str]:
        typed, _, self._kind = rest.partition(" ")
        if typed != self._name:
            yield f"{typed} has a type before its help"
        if self._kind not in {"counter", "gauge", "histogram", "summary"}:
            yield f"{typed} is a {self._kind}"
        if (self._kind == "counter") != typed.endswith("_total"):
            yield f"{typed} is a {self._kind}: only counters end with _total, and all do"

    def sample(self, line: str) -> Iterator[str]:
        found = _SAMPLE.fullmatch(line)
        if found is None:
            yield f"not a sample: {line}"
            return
        if found[1] not in [f"{self._name}{part}" for part in _PARTS.get(self._kind, ("",))]:
            yield f"{found[1]} is not below the help and the type of its own"
        yield from self._new(f"the sample {line.rpartition(' ')[0]}")
        float(found[3])

    def _new(self, what: str) -> Iterator[str]:
        if what in self._seen:
            yield f"{what} comes twice"
        self._seen.add(what)


def _about_name(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"{name} is not in snake case"
    if name.removesuffix("_total").endswith(_NOT_BASE_UNITS):
        yield f"{name} is not in a base unit"


def _about_histogram(family: Metric) -> Iterator[str]:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    counts: dict[tuple[tuple[str, str], ...], float] = {}
    for each in family.samples:
        labels = tuple(sorted(item for item in each.labels.items() if item[0] != "le"))
        if each.name.endswith("_bucket"):
            buckets.setdefault(labels, []).append((float(each.labels["le"]), each.value))
        elif each.name.endswith("_count"):
            counts[labels] = each.value
    for labels, found in buckets.items():
        if found != sorted(found) or found[-1][0] != float("inf"):
            yield f"{family.name}: buckets out of order"
        if [count for _, count in found] != sorted(count for _, count in found):
            yield f"{family.name}: buckets are not cumulative"
        if counts.get(labels) != found[-1][1]:
            yield f"{family.name}: the last bucket is not the count"
