from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kailash_mcp_prod.observe.metrics_calls import OTHER, CallFigures, rows_in
from tests.unit.observe.calls import report, tool

NAMES = ("Company_read", "Company_create", "Company_bulk_delete", "run_all")


@pytest.fixture
def figures() -> CallFigures:
    made = CallFigures(slow_seconds=1.0, most_agents=2)
    made.know(NAMES)
    return made


def counts(figures: CallFigures) -> dict[Any, int]:
    return {key: cell.count for key, cell in figures.cells.items()}


async def test_calls_are_counted_by_tool_outcome_and_part(figures: CallFigures) -> None:
    for each in (
        report("Company_read", result={}),
        report("Company_read", result={}),
        report("Company_read", "not_found"),
        report("Company_read", result={}, is_part=True),
        report("Company_create", "cancelled", found=False),
    ):
        figures.end(each)
    assert counts(figures) == {
        ("Company_read", "ok", False): 2,
        ("Company_read", "not_found", False): 1,
        ("Company_read", "ok", True): 1,
        # Its name led nowhere for this caller, and is one of ours.
        ("Company_create", "cancelled", False): 1,
    }
    assert figures.agents["key:a"].calls == 4
    assert figures.agents["key:a"].errors == 1
    assert figures.agents["key:a"].rows.read == 3


def test_names_that_are_not_ours_are_one(figures: CallFigures) -> None:
    for number in range(500):
        figures.end(report(f"Invented_{number}", "not_found", found=False))
    assert counts(figures) == {(OTHER, "not_found", False): 500}


def test_what_was_counted_of_removed_tools_becomes_other(figures: CallFigures) -> None:
    figures.end(report("Company_read", result={}, seconds=2.0))
    figures.end(report("Company_create", result={}))
    figures.know(["Company_create"])
    figures.know(["Company_create"])
    figures.end(report("Company_read", result={}))
    assert counts(figures) == {(OTHER, "ok", False): 2, ("Company_create", "ok", False): 1}
    assert figures.cells[OTHER, "ok", False].slow == 1
    assert figures.rows[OTHER].read == 2
    assert "Company_read" not in figures.rows


def test_agents_beyond_the_bound_are_one_together(figures: CallFigures) -> None:
    for number in range(50):
        figures.end(report("Company_read", result={}, subject=f"key:{number}"))
    assert {name: agent.calls for name, agent in figures.agents.items()} == {
        "key:0": 1,
        "key:1": 1,
        OTHER: 48,
    }


def test_slow_and_cached_calls_are_counted(figures: CallFigures) -> None:
    for seconds in (0.5, 1.0, 3.0):
        ended = report("Company_read", result={}, seconds=seconds)
        ended.from_cache = seconds < 1
        figures.end(ended)
    cell = figures.cells["Company_read", "ok", False]
    assert (cell.count, cell.slow, cell.cached) == (3, 2, 1)
    assert (cell.times.count, cell.times.total, cell.times.longest) == (3, 4.5, 3.0)


@pytest.mark.parametrize(
    ("name", "result", "expected"),
    [
        ("Company_read", {"id": 1}, (1, 0)),
        ("Company_list", {"records": [{}, {}], "count": 2}, (2, 0)),
        ("Company_aggregate", {"groups": [{}], "count": 1}, (1, 0)),
        ("Company_count", {"count": 9}, (0, 0)),
        ("Company_create", {"id": 1}, (0, 1)),
        ("Company_upsert", {"id": 1, "created": False}, (0, 1)),
        ("Company_update", {"id": 1}, (0, 1)),
        ("Company_delete", {"id": 1, "deleted": True}, (0, 1)),
        ("Company_bulk_create", {"processed": 3, "created": 3}, (0, 3)),
        ("Company_bulk_upsert", {"processed": 4, "created": 1, "updated": 3}, (0, 4)),
        ("Company_list", {"count": "many"}, (0, 0)),
        ("run_all", {"count": 9}, (0, 0)),
    ],
)
def test_rows_are_those_of_the_result(
    name: str, result: dict[str, Any], expected: tuple[int, int]
) -> None:
    rows = rows_in(tool(name), result)
    assert (rows.read, rows.written) == expected


@pytest.mark.parametrize(("outcome", "written"), [("ok", 3), ("conflict", 0)])
def test_what_parts_of_a_transaction_write_counts_when_the_whole_is_stored(
    figures: CallFigures, outcome: str, written: int
) -> None:
    whole = report("run_all", outcome)
    for result in ({"processed": 2}, {"processed": 1}):
        part = report("Company_bulk_delete", result=result, is_part=True)
        part.within = whole
        whole.parts.append(part)
        figures.end(part)
    assert figures.rows["Company_bulk_delete"].written == 0
    whole.result = {}
    figures.end(whole)
    assert figures.rows["Company_bulk_delete"].written == written
    assert figures.agents["key:a"].rows.written == written


def test_characters_are_counted_and_not_bytes(figures: CallFigures) -> None:
    figures.sent("key:a", b"abcd")
    figures.sent("key:a", "äöü€".encode())
    assert figures.characters == 8
    assert figures.agents["key:a"].characters == 8


def test_without_times_and_agents_only_calls_are_counted() -> None:
    figures = CallFigures(timed=False, by_agent=False, slow_seconds=0.001)
    figures.know(NAMES)
    figures.end(report("Company_read", result={}, seconds=9.0))
    figures.sent("key:a", b"abcd")
    cell = figures.cells["Company_read", "ok", False]
    assert (cell.count, cell.slow, cell.times.count) == (1, 0, 0)
    assert figures.agents == {}
    assert figures.characters == 4


def test_what_is_forgotten_is_counted_anew(figures: CallFigures) -> None:
    figures.end(report("Company_read", result={}))
    figures.sent("key:a", b"abcd")
    figures.forget()
    assert (figures.cells, figures.rows, figures.agents, figures.characters) == ({}, {}, {}, 0)


def test_a_tool_of_a_custom_kind_has_no_rows() -> None:
    odd = replace(tool("Company_read"), operation="translate")
    assert (rows_in(odd, {"count": 3}).read, rows_in(odd, {"count": 3}).written) == (0, 0)
