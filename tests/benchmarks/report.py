"""The page about the benchmarks: method, bars, figures and plots of what was measured last."""

from __future__ import annotations

import importlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Bar, Figure

HEAD = """# Benchmarks

This page is written by `make bench NAME=run_all`, which runs every benchmark of
`tests/benchmarks/` on a machine that does nothing else. Speeds differ from machine to machine, and
on one machine from hour to hour. So the bars are ratios: the contestants of a benchmark take turns
in one run, and a figure is the median over its rounds. A bar that is not met stands here as such.

`make bench NAME=<name>` runs one of them; `ARGS=--strict` makes it fail on an unmet bar.
"""

Run = Mapping[str, Any]


def write_report(names: Sequence[str], folder: Path, page: Path) -> None:
    """Writes the page, and its plots beside it.

    Args:
        names: The benchmarks, those that were never run are left out.
        folder: Where their findings are.
        page: The page.
    """
    images = page.parent / "images" / "bench"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("*.svg"):
        old.unlink()
    sections = [HEAD, *_sections(names, folder, images)]
    page.write_text("\n".join(sections), encoding="utf-8")


def _sections(names: Sequence[str], folder: Path, images: Path) -> Iterator[str]:
    for name in names:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        bars = [Bar(**each) for each in json.loads(path.read_text())]
        about: Run = json.loads(path.with_suffix(".run.json").read_text())
        figures = [Figure(**each) for each in about["figures"]]
        yield "\n".join(_section(name, bars, figures, about, images))


def _section(
    name: str, bars: Sequence[Bar], figures: Sequence[Figure], about: Run, images: Path
) -> Iterator[str]:
    text = importlib.import_module(f"tests.benchmarks.{name}").__doc__ or ""
    title, _, method = text.partition("\n\n")
    yield f"## {name}\n"
    yield f"{title.partition(': `make')[0].rstrip('.')}.\n"
    yield f"{method.strip()}\n"
    met = sum(each.met for each in bars)
    commit = f"{about['commit']}{', with changes' if about['changed'] else ''}"
    yield (
        f"{met} of {len(bars)} bars met, at commit {commit}, {about['date'][:10]}, "
        f"Python {about['python']}, {about['machine']}; it took {about['seconds']} s.\n"
    )
    yield "| bar | target | figure | |\n|---|---|---:|---|"
    for bar in bars:
        verdict = "met" if bar.met else "**not met**"
        yield f"| {bar.bar} | {bar.target} | {bar.value:g} | {verdict} |"
    yield ""
    for number, (what, group) in enumerate(_groups(figures).items()):
        file = images / f"{name}-{number}.svg"
        _plot(what, group, file)
        yield f"![{what}](images/bench/{file.name})\n"
    if figures:
        yield '??? note "All figures"\n'
        yield "    | figure | | |\n    |---|---:|---|"
        for each in figures:
            yield f"    | {each.name} | {each.value:.4g} | {each.unit} |"
        yield ""


def _groups(figures: Sequence[Figure]) -> dict[str, list[tuple[str, Figure]]]:
    """What can be compared: figures of the same thing in the same unit."""
    found: dict[tuple[str, str], list[tuple[str, Figure]]] = defaultdict(list)
    for each in figures:
        what, colon, who = each.name.rpartition(": ")
        if colon:
            found[what, each.unit].append((who, each))
    return {
        f"{what} ({unit})": group
        for (what, unit), group in found.items()
        if len(group) > 1 and all(each.value > 0 for _, each in group)
    }


def _plot(what: str, group: Sequence[tuple[str, Figure]], file: Path) -> None:
    # Late, so that the benchmarks do without.
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context({"svg.hashsalt": file.name, "svg.fonttype": "none", "font.size": 9}):
        canvas = Canvas(figsize=(7, 0.6 + 0.3 * len(group)), layout="constrained")
        axes = canvas.subplots()
        names = [who for who, _ in reversed(group)]
        values = [each.value for _, each in reversed(group)]
        drawn = axes.barh(names, values, color="#3f6fb5", height=0.65)
        axes.bar_label(drawn, fmt="{:,.4g}", padding=3)
        axes.set_title(what, loc="left", fontsize=9)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.xaxis.set_visible(False)
        axes.margins(x=0.12)
        canvas.savefig(file, metadata={"Date": None})
