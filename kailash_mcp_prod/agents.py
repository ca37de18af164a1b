"""`MCPLLMAgentNode`: Kailash's LLMAgentNode, with what it gets wrong about MCP put right.

Importing this module registers the node; it needs the extra `agent`. `docs/llm-agent-node.md` says
what differs from the stock node.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.agent_client.servers import servers_of
from kailash_mcp_prod.agent_client.sessions import AgentSession, close_sessions, open_sessions
from kailash_mcp_prod.agent_client.tools import OfferedTool, ToolCalls, offered_tools, read_context
from kailash_mcp_prod.background import BackgroundLoop
from kailash_mcp_prod.errors import InvalidArgumentsError

try:
    from kailash.nodes.base import NodeParameter, register_node
    from kaizen.nodes.ai.llm_agent import LLMAgentNode
except ImportError as error:
    raise ImportError(
        "MCPLLMAgentNode needs kailash-kaizen: pip install 'kailash-mcp-prod[agent]'",
        name=error.name,
    ) from error

# Without these methods, the stock node would do things its own way behind our back.
_OVERRIDDEN: Final[Mapping[str, Sequence[str]]] = {
    "_retrieve_mcp_context": ("mcp_servers", "mcp_context", "kwargs"),
    "_discover_mcp_tools": ("mcp_servers", "kwargs"),
    "_execute_tool_calls": ("tool_calls", "available_tools", "mcp_tools"),
    "_provider_llm_response": (
        *("provider", "model", "messages", "tools", "generation_config"),
        *("api_key", "base_url", "provider_config"),
    ),
    "_run_async_in_sync_context": ("coro",),
}


def require_known(base: type) -> None:
    """Makes sure that the methods which are overridden are still there.

    Args:
        base: The stock node.

    Raises:
        ImportError: One is missing or takes other arguments.
    """
    for name, expected in _OVERRIDDEN.items():
        method = getattr(base, name, None)
        known = method is not None and tuple(inspect.signature(method).parameters)[1:] == expected
        if not known:
            raise ImportError(
                f"This kailash-kaizen has an LLMAgentNode whose {name} is not known here; "
                "MCPLLMAgentNode would not be safe with it. Install kailash-kaizen 2.46."
            )


require_known(LLMAgentNode)

_MOST_ROUNDS: Final = 100
_DEFAULT_LONGEST_RESULT: Final = 50_000
_EXECUTION_LIMITS: Final = {
    "max_rounds": (1, _MOST_ROUNDS),
    "max_result_characters": (1_000, 1_000_000),
}


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run of a node has open."""

    background: BackgroundLoop
    sessions: Sequence[AgentSession]
    tools: Sequence[OfferedTool]
    calls: ToolCalls
    context: Sequence[Mapping[str, Any]]
    model_timeout: float


# A node may be run by several threads at the same time.
_RUN: Final[ContextVar[_Run]] = ContextVar("mcp_agent_run")


_LISTS = ("mcp_servers", "tools_to_use", "mcp_context")


@register_node()
class MCPLLMAgentNode(LLMAgentNode):  # type: ignore[misc]
    """An LLMAgentNode that gives the results of MCP tools back to its model, and keeps secrets.

    It takes the parameters of the stock node. `tools_to_use` names the tools that the model may
    see and call, with wildcards; `auto_discover_tools` is on unless it is turned off.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**_as_lists(settings))

    def get_parameters(self) -> dict[str, NodeParameter]:
        """The parameters of the stock node, and `tools_to_use`."""
        parameters: dict[str, NodeParameter] = super().get_parameters()
        parameters["auto_discover_tools"].default = True
        # With a default, the stock node ignores the value that a run is given.
        parameters["mcp_servers"].default = None
        parameters["tools_to_use"] = NodeParameter(
            name="tools_to_use",
            type=list,
            required=False,
            description="Names of MCP tools, or wildcards, that the model may see and call",
        )
        return parameters

    def validate_inputs(self, **inputs: Any) -> dict[str, Any]:
        """The inputs, with servers that show no credential where the inputs are logged.

        Raises:
            InvalidArgumentsError: An entry of `mcp_servers` is wrong.
        """
        validated: dict[str, Any] = super().validate_inputs(**_as_lists(inputs))
        if validated.get("mcp_servers"):
            validated["mcp_servers"] = servers_of(validated["mcp_servers"])
        return validated

    def run(self, **inputs: Any) -> dict[str, Any]:
        """Connects to the servers, and lets the model and its tools work.

        Raises:
            InvalidArgumentsError: A setting is wrong; no server was called.
            AgentServerError: A server can't be used; the model was not asked.
        """
        with _opened(inputs) as opened:
            token = _RUN.set(opened)
            try:
                # What the stock node gives to hooks and errors must hold no credential.
                names = [{"name": session.server.name} for session in opened.sessions]
                result: dict[str, Any] = super().run(**{**inputs, "mcp_servers": names})
                return result
            finally:
                _RUN.reset(token)

    async def async_run(self, **inputs: Any) -> dict[str, Any]:
        """Runs in a thread, because the stock node waits for its model."""
        return await asyncio.to_thread(self.execute, **inputs)

    def _retrieve_mcp_context(self, *_given: Any) -> list[dict[str, Any]]:
        return [dict(each) for each in _RUN.get().context]

    def _discover_mcp_tools(self, *_given: Any) -> list[dict[str, Any]]:
        return [tool.definition for tool in _RUN.get().tools]

    def _execute_tool_calls(self, tool_calls: Sequence[Any], *_given: Any, **_named: Any) -> Any:
        opened = _RUN.get()
        return opened.background.run(opened.calls.make(tool_calls))

    def _provider_llm_response(
        self,
        provider: str,
        model: str,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        generation_config: dict[str, Any] | None,
        **options: Any,
    ) -> dict[str, Any]:
        if tools and provider.strip().lower() == "openai":
            # The stock node would force a tool call in each round, and never get an answer.
            generation_config = {"tool_choice": "auto", **(generation_config or {})}
        answer: dict[str, Any] = super()._provider_llm_response(
            provider, model, messages, tools, generation_config, **options
        )
        return answer

    def _run_async_in_sync_context(self, coro: Coroutine[Any, Any, Any]) -> Any:
        opened = _RUN.get()

        async def answer() -> Any:
            try:
                return await asyncio.wait_for(coro, opened.model_timeout)
            except TimeoutError:
                seconds = f"{opened.model_timeout:g}"
                raise TimeoutError(f"the model has not answered within {seconds} seconds") from None

        return opened.background.run(answer())


@contextmanager
def _opened(inputs: Mapping[str, Any]) -> Iterator[_Run]:
    """The connections, tools and resources of one run."""
    servers = servers_of(inputs.get("mcp_servers") or [])
    uris = _texts_of(inputs, "mcp_context") or []
    patterns = _texts_of(inputs, "tools_to_use")
    discovering = bool(inputs.get("auto_discover_tools", True))
    longest = _limits_of(inputs)
    if inputs.get("use_real_mcp", True) is not True:
        raise _bad("use_real_mcp", "there are no other MCP servers than real ones; leave it out")
    if uris and not servers:
        raise _bad("mcp_context", "needs a server in `mcp_servers` to read from")
    if patterns is not None and not (servers and discovering):
        raise _bad("tools_to_use", "needs `mcp_servers` and `auto_discover_tools`")
    background = BackgroundLoop("mcp-agent")
    sessions: list[AgentSession] = []
    try:
        needed = servers if discovering or uris else []
        sessions = background.run(open_sessions(needed, with_tools=discovering))
        secrets = [secret for session in sessions for secret in session.secrets]
        tools = offered_tools(sessions, patterns, _names_of(inputs.get("tools") or []))
        yield _Run(
            background=background,
            sessions=sessions,
            tools=tools,
            calls=ToolCalls(tools, secrets, longest),
            context=background.run(read_context(sessions, uris, secrets, longest)),
            model_timeout=float(inputs.get("timeout") or 120),
        )
    finally:
        try:
            background.run(close_sessions(sessions))
        finally:
            background.close()


def _limits_of(inputs: Mapping[str, Any]) -> int:
    """The characters that a result may have; the stock node reads the number of rounds itself."""
    config = inputs.get("tool_execution_config") or {}
    for key, value in config.items():
        field = f"tool_execution_config.{key}"
        if key not in _EXECUTION_LIMITS:
            raise _bad(field, f"is no setting; there are {' and '.join(_EXECUTION_LIMITS)}")
        least, most = _EXECUTION_LIMITS[key]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _bad(field, f"must be a whole number from {least} to {most}")
    longest: int = config.get("max_result_characters", _DEFAULT_LONGEST_RESULT)
    return longest


def _texts_of(inputs: Mapping[str, Any], key: str) -> list[str] | None:
    values = inputs.get(key)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _bad(key, "must be a list of texts")
    return values


def _as_lists(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with one server, tool or resource instead of a list of them, mended.

    Kailash would make a list of the letters of a text, and of the keys of an object.
    """
    return {
        name: [value] if name in _LISTS and isinstance(value, str | Mapping) else value
        for name, value in settings.items()
    }


def _names_of(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of tools that the caller has declared, in either form that is in use."""
    return [str((tool.get("function") or tool).get("name")) for tool in tools]


def _bad(field: str, problem: str) -> InvalidArgumentsError:
    return InvalidArgumentsError(f"{field}: {problem}.", field=field)
