from __future__ import annotations

from kailash_mcp_prod.tools.search.index import ToolIndex
from tests.unit.tools.conftest import Reference
from tests.unit.tools.sample_tools import tool


def test_each_tool_is_found_by_its_own_name(reference: Reference) -> None:
    registry = reference.service().registry
    index = ToolIndex(registry)

    for each in registry:
        assert each.name in [name for name, _ in index.search(each.name, 12)], each.name


def test_tools_of_no_model_are_found_by_their_names_and_descriptions() -> None:
    index = ToolIndex([tool("rotate_logs"), tool("brew_coffee")])

    assert [name for name, _ in index.search("please brew some coffee", 5)] == ["brew_coffee"]


def test_only_the_tools_that_count_are_found(reference: Reference) -> None:
    index = ToolIndex(reference.registry())

    found = index.search("list the companies", 100, {"Company_read", "Quote_list"})

    assert {name for name, _ in found} <= {"Company_read", "Quote_list"}
    assert found[0][0] == "Company_read"


def test_the_best_comes_first_and_equals_keep_their_order(reference: Reference) -> None:
    found = ToolIndex(reference.registry()).search("delete a user", 20)

    assert found[0][0] == "User_delete"
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    twins = ToolIndex([tool("same_two"), tool("same_one")])
    assert [name for name, _ in twins.search("same", 5)] == ["same_two", "same_one"]


def test_the_first_five_are_not_all_of_one_model(reference: Reference) -> None:
    found = ToolIndex(reference.registry()).search("quotes of a customer", 5)

    assert {"Quote", "Customer"} <= {name.partition("_")[0] for name, _ in found}


def test_nothing_is_found_for_nothing(reference: Reference) -> None:
    index = ToolIndex(reference.registry())

    assert index.search("", 5) == []
    assert index.search("xyzzy qwertz", 5) == []
    assert ToolIndex([]).search("company", 5) == []


def test_two_indexes_of_the_same_tools_agree(reference: Reference) -> None:
    question = "which offers does the customer have"

    first, second = (ToolIndex(reference.registry()).search(question, 20) for _ in range(2))

    assert first == second
