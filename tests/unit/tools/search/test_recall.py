"""How often the right tool is among the first five, and how long that takes to find out."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import pytest

from kailash_mcp_prod.tools.search.index import ToolIndex
from tests.unit.tools.conftest import Reference

Question = tuple[str, str]


def questions(name: str) -> list[Question]:
    """The tools and questions of a file, a pair on each line."""
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return [(tool, question) for tool, _, question in (line.partition(": ") for line in lines)]


FIXED = questions("questions.txt")
# The first set was unseen once: its misses led to the next state of the index, whose weights were
# chosen with it in view. Only the second says what to expect of questions that nobody has tried.
UNSEEN = questions("unseen_questions.txt")
UNSEEN_2 = questions("unseen_questions_2.txt")


@pytest.fixture(scope="module")
def index(reference: Reference) -> ToolIndex:
    return ToolIndex(reference.service().registry)


def test_there_are_two_hundred_questions_about_tools_that_exist(reference: Reference) -> None:
    assert len({question for _, question in FIXED}) == 200
    every = [question for _, question in (*FIXED, *UNSEEN, *UNSEEN_2)]
    assert len(set(every)) == len(every) == 300
    names = {tool.name for tool in reference.service().registry}
    assert {tool for tool, _ in (*FIXED, *UNSEEN, *UNSEEN_2)} <= names
    assert {tool.partition("_")[0] for tool in names} == {
        tool.partition("_")[0] for tool, _ in FIXED
    }


@pytest.mark.parametrize(
    ("asked", "least"),
    [(FIXED, 0.95), (UNSEEN, 0.9), (UNSEEN_2, 0.81)],
    ids=["fixed", "unseen", "unseen again"],
)
def test_the_right_tool_is_among_the_first_five_for_nearly_all_questions(
    index: ToolIndex, asked: list[Question], least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = []
    for tool, question in asked:
        found = [name for name, _ in index.search(question, 5)]
        ranks.append(found.index(tool) if tool in found else None)

    recall = sum(rank is not None for rank in ranks) / len(ranks)
    first = sum(rank == 0 for rank in ranks) / len(ranks)
    with capsys.disabled():
        sys.stdout.write(
            f"\nsearch: recall@5 {recall:.1%}, first {first:.1%}, of {len(ranks)} questions\n"
        )
    assert recall >= least


def test_a_search_takes_less_than_a_millisecond(
    index: ToolIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    times = []
    for _, question in FIXED:
        begin = time.perf_counter()
        index.search(question, 5)
        times.append(time.perf_counter() - begin)

    p50 = statistics.median(times) * 1_000
    with capsys.disabled():
        sys.stdout.write(f"\nsearch: p50 {p50:.3f} ms over 118 tools\n")
    assert p50 < 1
