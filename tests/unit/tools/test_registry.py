from __future__ import annotations

from kailash_mcp_prod.tools.registry import ToolRegistry
from tests.unit.tools.sample_tools import tool


def names(registry: ToolRegistry) -> list[str]:
    return [each.name for each in registry]


def test_tools_keep_the_order_in_which_they_came() -> None:
    registry = ToolRegistry()
    registry.add([tool("b"), tool("a")])
    registry.add([tool("c")])

    assert names(registry) == ["b", "a", "c"]
    assert len(registry) == 3


def test_a_tool_of_the_same_name_takes_the_place_of_the_old_one() -> None:
    registry = ToolRegistry()
    registry.add([tool("a"), tool("b")])
    registry.add([tool("a", title="New")])

    assert names(registry) == ["a", "b"]
    found = registry.get("a")
    assert found is not None
    assert found.title == "New"


def test_a_name_that_is_not_there_is_none() -> None:
    assert ToolRegistry().get("a") is None


def test_a_group_goes_as_a_whole() -> None:
    registry = ToolRegistry()
    registry.add([tool("a", group="x"), tool("b", group="y"), tool("c", group="x")])
    registry.remove_group("x")

    assert names(registry) == ["b"]
    assert registry.get("a") is None


def test_listeners_hear_of_every_change_after_it_was_made() -> None:
    registry = ToolRegistry()
    heard: list[int] = []
    registry.subscribe(lambda: heard.append(len(registry)))
    registry.add([tool("a", group="x"), tool("b", group="y")])
    registry.remove_group("x")

    assert heard == [2, 1]


def test_removing_what_is_not_there_changes_nothing() -> None:
    registry = ToolRegistry()
    heard: list[str] = []
    registry.subscribe(lambda: heard.append("changed"))
    registry.remove_group("x")

    assert heard == []


def test_who_has_unsubscribed_hears_no_more_and_may_do_so_twice() -> None:
    registry = ToolRegistry()
    heard: list[str] = []
    unsubscribe = registry.subscribe(lambda: heard.append("one"))
    registry.subscribe(lambda: heard.append("other"))
    unsubscribe()
    unsubscribe()
    registry.add([tool("a")])

    assert heard == ["other"]


def test_a_listener_may_unsubscribe_while_it_is_told() -> None:
    registry = ToolRegistry()
    heard: list[str] = []

    def once() -> None:
        heard.append("once")
        unsubscribe()

    unsubscribe = registry.subscribe(once)
    registry.subscribe(lambda: heard.append("always"))
    registry.add([tool("a")])
    registry.add([tool("b")])

    assert heard == ["once", "always", "always"]
