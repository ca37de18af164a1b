from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kailash_mcp_prod.demo.report import Report
from kailash_mcp_prod.demo.running import Outcome, Result, Step

NOTHING: Any = None
RESULTS = [
    Result("One", "begin", Outcome.OK, "done [bold]as it is[/bold]", 12.3),
    Result("One", "go on", Outcome.FAILED, "No,\x1b[2J because.", 1),
    Result("Two", "end", Outcome.SKIPPED, "Not here.", 0),
]


@pytest.mark.parametrize("terminal", [False, True])
def test_the_report_is_readable_with_and_without_a_terminal(terminal: bool) -> None:
    text = io.StringIO()
    console = Console(
        file=text,
        force_terminal=terminal,
        width=100,
        highlight=False,
        color_system="standard" if terminal else None,
    )
    with Report(len(RESULTS), console) as report:
        for each in RESULTS:
            report.begin(Step(each.section, each.name, NOTHING))
            report.end(each)
    report.sum_up(RESULTS)

    if terminal:
        assert "━" in text.getvalue()
        assert "\x1b[32mok" in text.getvalue()
        return
    assert text.getvalue().splitlines() == [
        "",
        "One",
        "  ok       begin                    done [bold]as it is[/bold]  12 ms",
        "  failed   go on                    No, [2J because.",
        "",
        "Two",
        "  skipped  end                      Not here.",
        "",
        "1 ok, 1 failed, 1 skipped",
    ]
