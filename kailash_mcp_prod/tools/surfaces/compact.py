"""The surface `compact`: a few stable tools for the records of all models."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

from msgspec.structs import replace

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools import models_info
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces import groups
from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL, AnyTool
from kailash_mcp_prod.tools.surfaces.base import FullSurface, Resolved
from kailash_mcp_prod.tools.surfaces.groups import GROUPS, ToolGroup
from kailash_mcp_prod.tools.surfaces.shortcuts import SHORTCUTS, Shortcut
from kailash_mcp_prod.tools.visibility import Visibility

DESCRIBE_MODELS = "describe_models"

_MAX_PRINCIPALS = 256
_MAX_CHOICES_SHOWN = 50
_BY_NAME = {each.name: each for each in SHORTCUTS}
_GROUPS = {each.name: each for each in GROUPS}

# For each model that a shortcut reaches: the record tools by the value of `action`.
_Targets = Mapping[str, Mapping[str, ToolSpec]]


class CompactSurface:
    """At most twelve tools that reach every model and operation.

    Those for records take `model` and the arguments of the record tool that they stand for. They
    list the models for which the caller may call that tool, so what may not be called is not seen
    here either. Those of a group take an `action`. `call_tool` reaches every other tool.

    Args:
        registry: The tools.
        policy: Which of them a principal may call.
    """

    def __init__(self, registry: ToolRegistry, policy: Policy) -> None:
        self._registry = registry
        self._tools = FullSurface(registry, policy)
        self._visibility = Visibility(policy)
        self._reached = BoundedMemo[Hashable, Mapping[str, _Targets]](_MAX_PRINCIPALS)
        self._call_any = AnyTool(
            self._tools,
            "Calls any tool of the server by its name, also those that this list leaves out. "
            f"{DESCRIBE_MODELS} has the names of those for records.",
            f"{DESCRIBE_MODELS} has the names of the tools for records.",
        )

    def refresh(self) -> None:
        """Notices that the registry has changed."""
        self._reached.clear()

    def listed(self, principal: Principal, *, complete: bool) -> list[dict[str, Any]]:
        """See `Surface.listed`; results depend on the model, so there are no schemas of them."""
        describe = self._tools.find(principal, models_info.NAME)
        tools = []
        if describe is not None:
            described = describe.to_mcp(complete=complete)
            tools.append({**described, "name": DESCRIBE_MODELS})
        for name, targets in self._reach(principal).items():
            tools.append(_listed(_BY_NAME[name], targets))
        reached = ((group, self._actions(principal, group)) for group in GROUPS)
        tools += [groups.listed(group, actions) for group, actions in reached if actions]
        return [*tools, dict(self._call_any.listed)]

    def resolve(self, call: ToolCall, name: str) -> Resolved | None:
        """See `Surface.resolve`."""
        if name == CALL_TOOL:
            return self._call_any.resolve(call)
        if name == DESCRIBE_MODELS:
            return self._tools.resolve(call, models_info.NAME)
        group = _GROUPS.get(name)
        if group is not None:
            actions = self._actions(call.principal, group)
            return groups.resolve(actions, call) if actions else None
        targets = self._reach(call.principal).get(name)
        return None if targets is None else _resolve(_BY_NAME[name], targets, call)

    def _actions(self, principal: Principal, group: ToolGroup) -> groups.Actions:
        """The tools of a group that the principal may call, by their actions."""
        return {
            action: tool
            for action, name in group.actions.items()
            if (tool := self._tools.find(principal, name)) is not None
        }

    def _reach(self, principal: Principal) -> Mapping[str, _Targets]:
        """What each shortcut reaches, without those that reach nothing."""
        kind = self._visibility.kind(principal)
        return self._reached.get(kind, lambda: self._find_reach(principal))

    def _find_reach(self, principal: Principal) -> dict[str, _Targets]:
        by_model: dict[str, dict[str, ToolSpec]] = {}
        for each in self._registry.every():
            tool = self._visibility.tool(principal, each)
            if tool is not None and tool.operation is not None:
                by_model.setdefault(tool.group, {})[tool.operation] = tool
        found = {each.name: _targets(each, by_model) for each in SHORTCUTS}
        return {name: targets for name, targets in found.items() if targets}


def _targets(shortcut: Shortcut, by_model: Mapping[str, Mapping[str, ToolSpec]]) -> _Targets:
    found = {
        model: {
            action: tools[operation]
            for action, operation in shortcut.operations.items()
            if operation in tools
        }
        for model, tools in by_model.items()
    }
    return {model: tools for model, tools in found.items() if tools}


def _listed(shortcut: Shortcut, targets: _Targets) -> dict[str, Any]:
    own: dict[str, Any] = {"model": {"enum": list(targets)}}
    if shortcut.by_action:
        own["action"] = {"enum": _actions(shortcut, targets)}
    return {
        "name": shortcut.name,
        "title": shortcut.title,
        "description": shortcut.description,
        "inputSchema": {
            "type": "object",
            "properties": {**own, **shortcut.properties},
            "required": [*own, *shortcut.required],
            "additionalProperties": False,
        },
        "annotations": shortcut.hints.to_mcp(complete=False),
    }


def _actions(shortcut: Shortcut, targets: _Targets) -> list[str]:
    reached = {action for tools in targets.values() for action in tools}
    return [action for action in shortcut.operations if action in reached]


def _resolve(shortcut: Shortcut, targets: _Targets, call: ToolCall) -> Resolved:
    arguments = dict(call.arguments)
    own = ["model", "action"] if shortcut.by_action else ["model"]
    known = [*own, *shortcut.properties]
    for name in arguments:
        if name not in known:
            raise InvalidArgumentsError(
                f"{shown(name)}: unknown argument: remove it or mend its name.",
                field=shown(name),
                details={"known_fields": known},
            )
    tools = targets[_chosen("model", arguments.pop("model", None), targets)]
    if shortcut.by_action:
        tool = tools[_chosen("action", arguments.pop("action", None), tools)]
    else:
        tool = next(iter(tools.values()))
    for name in shortcut.required:
        if name not in arguments:
            raise InvalidArgumentsError(f"{name}: this argument is required.", field=name)
    return Resolved(tool, replace(call, arguments=arguments))


def _chosen(argument: str, given: Any, choices: Collection[str]) -> str:
    if isinstance(given, str) and given in choices:
        return given
    some = list(choices)[:_MAX_CHOICES_SHOWN]
    raise InvalidArgumentsError(
        f"{argument}: use one of: {', '.join(some)}{', …' if len(choices) > len(some) else ''}.",
        field=argument,
        details={"choices": some},
    )
