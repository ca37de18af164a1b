"""The tools of a server, in a fixed order, and who wants to know when they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kailash_mcp_prod.tools.spec import ToolSpec

Listener = Callable[[], None]


class ToolRegistry:
    """An ordered set of tools; those that are not listed are only seen by who asks for `every`.

    Tools keep the order in which they were added, so that lists are the same in every run.
    """

    def __init__(self) -> None:
        self._tools: dict[str, ToolSpec] = {}
        self._listeners: list[Listener] = []

    def add(self, tools: Iterable[ToolSpec]) -> None:
        """Adds tools at the end; one of the same name is replaced in its place."""
        self._tools.update((tool.name, tool) for tool in tools)
        self._changed()

    def remove_group(self, group: str) -> None:
        """Removes all tools of a group, such as those of a model."""
        kept = {name: tool for name, tool in self._tools.items() if tool.group != group}
        if len(kept) != len(self._tools):
            self._tools = kept
            self._changed()

    def get(self, name: str) -> ToolSpec | None:
        """The tool of that name, if there is one."""
        tool = self._tools.get(name)
        return tool if tool is not None and tool.listed else None

    def find(self, name: str) -> ToolSpec | None:
        """The tool of that name, also if it is not listed."""
        return self._tools.get(name)

    def every(self) -> Iterator[ToolSpec]:
        """All tools, also those that are not listed."""
        return iter(self._tools.values())

    def __iter__(self) -> Iterator[ToolSpec]:
        return (tool for tool in self._tools.values() if tool.listed)

    def __len__(self) -> int:
        return sum(tool.listed for tool in self._tools.values())

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Calls the listener after each change; the returned function ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()
