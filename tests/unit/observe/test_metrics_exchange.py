from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kailash_mcp_prod.observe.metrics_calls import CallFigures
from kailash_mcp_prod.observe.metrics_exchange import Exchange
from kailash_mcp_prod.observe.metrics_families import Family
from kailash_mcp_prod.observe.metrics_histogram import Histogram
from kailash_mcp_prod.observe.metrics_operations import Operation, OperationFigures, Session
from kailash_mcp_prod.observe.metrics_snapshot import Figures, Snapshot, decode, encode
from tests.unit.observe.calls import report


def figures(count: int, subject: str = "key:a") -> Figures:
    """Some of everything."""
    calls = CallFigures()
    calls.know(["Company_list"])
    for _ in range(count):
        calls.end(report("Company_list", result={"count": 2}, subject=subject))
        calls.sent(subject, b"1234")
    operations = OperationFigures(calls)
    operations.operations[Operation("ping", "", "", "", "http")] = Histogram()
    operations.sessions[Session("2025-11-25", "http")] = Histogram()
    orders = Family("orders", "counter", "Orders.")
    orders.add(count)
    running = Family("running", "gauge", "Running.")
    running.add(count)
    return Figures.of(calls, operations, [orders, running])


def total(found: Figures) -> tuple[int, int, int, float]:
    """Calls, rows, characters and orders."""
    return (
        sum(cell.count for cell in found.cells.values()),
        sum(rows.read for rows in found.rows.values()),
        found.characters,
        sum(each.value for each in found.families["orders"].samples),
    )


def opened(folder: Path) -> Exchange:
    exchange = Exchange(folder)
    exchange.open()
    return exchange


def together(exchange: Exchange, own: Figures) -> Figures:
    exchange.write(own)
    own.add(exchange.others())
    return own


def test_what_is_written_is_read_the_same() -> None:
    snapshot = Snapshot.of(figures(3), pid=1, born=2.0, ended=False)
    found = Figures()
    found.add([decode(encode(snapshot))])
    assert Snapshot.of(found, pid=1, born=2.0, ended=False) == snapshot


def test_each_worker_shows_the_sum(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "shared"), opened(tmp_path / "shared")
    assert total(together(first, figures(3)))[0] == 3
    found = together(second, figures(2, "key:b"))
    assert total(found) == (5, 10, 20, 5)
    assert {name: agent.calls for name, agent in found.agents.items()} == {"key:a": 3, "key:b": 2}
    assert found.workers == 2
    assert sum(each.value for each in found.families["running"].samples) == 5
    mode = stat.S_IMODE((tmp_path / "shared").stat().st_mode)
    assert mode == 0o700


def test_an_ended_worker_keeps_its_counters_and_not_its_gauges(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.write(figures(3), ended=True)
    found = together(second, figures(2))
    assert total(found) == (5, 10, 20, 5)
    assert (found.workers, found.families["running"].samples[0].value) == (1, 2)
    third = opened(tmp_path)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.glob("*.json")) == [
        "retired.json",
        "worker",
    ]
    assert total(together(third, figures(0)))[0] == 5
    second.write(figures(2), ended=True)
    third.write(figures(0), ended=True)
    opened(tmp_path)
    assert [path.name for path in tmp_path.glob("*.json")] == ["retired.json"]
    assert total(together(opened(tmp_path), figures(0))) == (5, 10, 20, 5)


def test_a_dead_process_counts_as_ended_also_when_its_number_is_taken_again(
    tmp_path: Path,
) -> None:
    exchange = opened(tmp_path)
    for name, pid, born in (("gone", 2**22 + 1, 0.0), ("reused", os.getpid(), 1.0)):
        snapshot = Snapshot.of(figures(1), pid=pid, born=born, ended=False)
        (tmp_path / f"worker-{name}.json").write_bytes(encode(snapshot))
    found = together(exchange, figures(1))
    assert (total(found)[0], found.workers) == (3, 1)


def test_many_files_of_ended_workers_become_one(tmp_path: Path) -> None:
    exchange = opened(tmp_path)
    for _ in range(40):
        Exchange(tmp_path).write(figures(1), ended=True)
    assert total(together(exchange, figures(0)))[0] == 40
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert total(together(exchange, figures(0)))[0] == 40


def test_a_file_that_is_no_snapshot_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = opened(tmp_path)
    (tmp_path / "worker-broken.json").write_text("{", encoding="utf-8")
    assert total(together(exchange, figures(1)))[0] == 1
    assert "metrics_file_ignored" in caplog.text


def test_agents_of_all_workers_stay_within_the_bound() -> None:
    found = Figures()
    found.add(
        Snapshot.of(figures(1, f"key:{number}"), pid=1, born=1, ended=True)
        for number in range(1100)
    )
    assert len(found.agents) == 1001
    assert found.agents["_other"].calls == 100
