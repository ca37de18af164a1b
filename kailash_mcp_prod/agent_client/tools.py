"""What a model is told of the tools of MCP servers, and what becomes of its calls.

A model gets names, descriptions and schemas, and results as JSON text. Where a server is and what
it is opened with never gets there.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from kailash_mcp_prod.agent_client.sessions import AgentServerError, AgentSession, hide
from kailash_mcp_prod.errors import InvalidArgumentsError

# What providers allow in the name of a function.
_UNSUITABLE: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64
_MOST_CALLS: Final = 32
_MOST_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as a model knows it.

    Attributes:
        name: What the model calls it.
        tool: Its definition as its server has sent it.
        session: The connection to its server.
    """

    name: str
    tool: Mapping[str, Any]
    session: AgentSession

    @property
    def definition(self) -> dict[str, Any]:
        """What the provider of the model is sent."""
        function = {
            "name": self.name,
            "description": self.tool.get("description") or "",
            "parameters": self.tool.get("inputSchema") or {"type": "object", "properties": {}},
        }
        return {"type": "function", "function": function}

    @property
    def read_only(self) -> bool:
        """Whether its server says that it changes nothing."""
        return (self.tool.get("annotations") or {}).get("readOnlyHint") is True

    def matches(self, pattern: str) -> bool:
        """Whether a name or wildcard of `tools_to_use` means this tool."""
        return any(fnmatchcase(name, pattern) for name in (self.name, self.tool["name"]))


def offered_tools(
    sessions: Iterable[AgentSession], tools_to_use: Sequence[str] | None, others: Iterable[str]
) -> list[OfferedTool]:
    """The tools that a model is to see, in the order of the servers and their lists.

    Args:
        sessions: The connections to the servers.
        tools_to_use: Names or wildcards of those tools; without it, all.
        others: The names of the tools that come from elsewhere.

    Raises:
        InvalidArgumentsError: A name in `tools_to_use` fits no tool, or two tools have one name.
    """
    found = [(session, tool) for session in sessions for tool in session.tools]
    times = Counter(_suitable(tool["name"]) for _, tool in found)
    tools = []
    for session, tool in found:
        name = _suitable(tool["name"])
        if times[name] > 1:
            name = _suitable(f"{session.server.name}__{tool['name']}")
        tools.append(OfferedTool(name, tool, session))
    if tools_to_use is not None:
        for position, pattern in enumerate(tools_to_use):
            if not any(tool.matches(pattern) for tool in tools):
                field = f"tools_to_use[{position}]"
                problem = f"no server has a tool {pattern!r}"
                raise InvalidArgumentsError(f"{field}: {problem}.", field=field)
        tools = [tool for tool in tools if any(tool.matches(each) for each in tools_to_use)]
    taken = set(others)
    for offered in tools:
        if len(offered.name) > _LONGEST_NAME or not offered.name:
            raise InvalidArgumentsError(
                f"tools_to_use: leave out {offered.name!r}: a model's functions have names of "
                f"1 to {_LONGEST_NAME} characters.",
                field="tools_to_use",
            )
        if offered.name in taken:
            raise InvalidArgumentsError(
                f"tools_to_use: leave out all but one of the tools called {offered.name!r}.",
                field="tools_to_use",
            )
        taken.add(offered.name)
    return tools


def _suitable(name: str) -> str:
    return _UNSUITABLE.sub("_", name)


class ToolCalls:
    """Makes the calls that a model asks for.

    Args:
        tools: The tools that it was offered, and may call.
        secrets: What it must not read in a result.
        longest_result: The characters that a result may have.
    """

    def __init__(
        self, tools: Iterable[OfferedTool], secrets: Sequence[str], longest_result: int
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._secrets = secrets
        self._longest_result = longest_result

    async def make(self, calls: Sequence[Any]) -> list[dict[str, Any]]:
        """The results of the calls of one round, in the order of the calls.

        Calls run one after the other, because they may depend on each other; if all of them only
        read, they run together.

        Args:
            calls: The calls as the provider has sent them.
        """
        parsed = [_parse(call) for call in calls]
        tools = [self._tools.get(call.name) for call in parsed]
        at_once = all(tool is not None and tool.read_only for tool in tools)
        slots = asyncio.Semaphore(_MOST_AT_ONCE if at_once else 1)

        async def answer(position: int) -> str:
            async with slots:
                if position >= _MOST_CALLS:
                    problem = f"Not called: at most {_MOST_CALLS} calls are made at a time."
                    return self._text(False, parsed[position].name, problem)
                return await self._answer(parsed[position])

        # A semaphore lets waiters in in their order.
        contents = await asyncio.gather(*(answer(position) for position in range(len(parsed))))
        return [
            {"tool_call_id": call.id, "content": content}
            for call, content in zip(parsed, contents, strict=True)
        ]

    async def _answer(self, call: _Call) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            problem = f"There is no tool {call.name!r} that can be called here."
            return self._text(False, call.name, problem)
        if call.arguments is None:
            return self._text(False, call.name, "The arguments must be a JSON object.")
        try:
            result = await tool.session.call(tool.tool["name"], call.arguments)
        except AgentServerError as error:
            return self._text(False, call.name, str(error))
        success = not result.get("isError", False)
        return self._text(success, call.name, value_of(result))

    def _text(self, success: bool, tool: str, value: Any) -> str:
        outcome = {"success": success, "tool": tool}
        kind = "result" if success else "error"
        if not success and isinstance(value, Mapping) and set(value) == {"error"}:
            value = value["error"]
        text = _json({**outcome, kind: value})
        if len(text) > self._longest_result:
            note = f"{len(text)} characters are too many; ask for less."
            beginning = _json(value)[: self._longest_result // 2]
            text = _json({**outcome, "truncated": note, "beginning": beginning})
        return hide(
            text, {form for secret in self._secrets for form in (secret, _json(secret)[1:-1])}
        )


@dataclass(frozen=True, slots=True)
class _Call:
    id: str
    name: str
    arguments: dict[str, Any] | None


def _parse(call: Any) -> _Call:
    if not isinstance(call, Mapping):
        # Some providers' own clients give objects instead of their wire form.
        call = call.model_dump()
    function = call.get("function") or {}
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    return _Call(
        id=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=arguments if isinstance(arguments, dict) else None,
    )


def value_of(result: Mapping[str, Any]) -> Any:
    """What a tool has answered: its structured content, else its texts."""
    structured = result.get("structuredContent")
    if structured is not None:
        return structured
    return "\n".join(_text_of(block) for block in result.get("content") or [])


def _text_of(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "text":
            return str(block["text"])
        case "resource":
            return contents_of(block["resource"])
        case "resource_link":
            return f"[resource {block['uri']}]"
        case kind:
            return f"[{kind} {block.get('mimeType', '')}]"


def contents_of(contents: Mapping[str, Any]) -> str:
    """The text of one part of a resource; bytes are only named."""
    if "text" in contents:
        return str(contents["text"])
    return f"[{contents.get('mimeType', 'bytes')} {contents.get('uri', '')}]"


async def read_context(
    sessions: Sequence[AgentSession], uris: Iterable[str], secrets: Sequence[str], longest: int
) -> list[dict[str, Any]]:
    """The resources that a model is shown before it is asked.

    Args:
        sessions: The connections; the first server that has a resource gives it.
        uris: What to read.
        secrets: What the model must not read.
        longest: The characters that a resource may have.

    Raises:
        InvalidArgumentsError: No server has one of them, or one is too long.
    """
    context = []
    for position, uri in enumerate(uris):
        field = f"mcp_context[{position}]"
        source, contents = await _first_that_has(sessions, uri, field)
        text = "\n".join(contents_of(each) for each in contents)
        if len(text) > longest:
            raise InvalidArgumentsError(
                f"{field}: {uri!r} has {len(text)} characters; at most {longest} are taken.",
                field=field,
            )
        context.append({"uri": uri, "content": hide(text, secrets), "source": source})
    return context


async def _first_that_has(
    sessions: Sequence[AgentSession], uri: str, field: str
) -> tuple[str, list[dict[str, Any]]]:
    reasons = []
    for session in sessions:
        try:
            answer = await session.read(uri)
        except AgentServerError as error:
            reasons.append(str(error))
        else:
            return session.server.name, answer["contents"]
    raise InvalidArgumentsError(f"{field}: {uri!r} can't be read. {' '.join(reasons)}", field=field)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
