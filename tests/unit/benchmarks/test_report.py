"""The page about the benchmarks says what was measured, and that a bar was not met."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import run_all
from tests.benchmarks.harness import Bar, Figure, at_least, at_most, run
from tests.benchmarks.report import write_report

FINDINGS = [
    at_least("calls, 50 connections: of the floor", 25, 23.456, "%"),
    at_most("calls: errors", 0, 0, "errors"),
    Figure("calls, 50 connections: ours", 1000.0, "calls/s"),
    Figure("calls, 50 connections: theirs", 250.0, "calls/s"),
    Figure("median latency", 1.5, "ms"),
]


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    assert run("guard", lambda: FINDINGS, [], folder=tmp_path / "bench") == 0
    return tmp_path


def test_the_page_has_method_bars_and_figures(measured: Path) -> None:
    page = measured / "docs" / "benchmarks.md"
    write_report(["protocol", "guard"], measured / "bench", page)
    text = page.read_text()
    assert "## guard\n\nWhat the guard costs, and what it gives.\n" in text
    assert "## protocol" not in text, "it was never run"
    assert "1 of 2 bars met" in text
    assert "| calls, 50 connections: of the floor | >= 25 % | 23.46 | **not met** |" in text
    assert "| calls: errors | <= 0 errors | 0 | met |" in text
    assert "| median latency | 1.5 | ms |" in text


def test_what_can_be_compared_is_a_plot(measured: Path) -> None:
    page = measured / "docs" / "benchmarks.md"
    images = page.parent / "images" / "bench"
    images.mkdir(parents=True)
    (images / "of-earlier.svg").write_text("gone")
    write_report(["guard"], measured / "bench", page)
    [plot] = images.iterdir()
    assert f"![calls, 50 connections (calls/s)](images/bench/{plot.name})" in page.read_text()
    shown = "".join(ElementTree.parse(plot).getroot().itertext())
    assert all(each in shown for each in ("ours", "theirs", "1,000", "250"))
    before = plot.read_bytes()
    write_report(["guard"], measured / "bench", page)
    assert plot.read_bytes() == before


def test_all_benchmarks_are_run_and_a_broken_one_is_a_failure(
    measured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_all, "FOLDER", measured / "bench")
    monkeypatch.setattr(run_all, "PAGE", measured / "docs" / "benchmarks.md")
    assert run_all.main(["--report"]) == 0
    assert "## guard" in run_all.PAGE.read_text()
    monkeypatch.setattr(run_all, "NAMES", ("none_of_this_name",))
    assert run_all.main([]) == 1
    assert "broken: none_of_this_name" in capfd.readouterr().out


def test_there_is_no_benchmark_that_is_left_out() -> None:
    folder = Path(run_all.__file__).parent
    commands = {each.stem for each in folder.glob("*.py") if "sys.exit(run(" in each.read_text()}
    # Measured by another one of them.
    assert commands - {"stdio_start"} == set(run_all.NAMES)
    assert all(isinstance(each, Bar | Figure) for each in FINDINGS)
