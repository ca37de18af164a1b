"""A prompt as the host knows it: who gets it, what it asks for, and what writes its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.content.catalogue import UsableModels
from kailash_mcp_prod.records.operations import Operation

MAX_NAME: Final = 255
MAX_TEXT: Final = 4_000


@dataclass(frozen=True, slots=True)
class RecordNames:
    """Completes an argument with the ids and names of a model's records.

    Args:
        model: The model.
        fields: The text fields by which people know a record.
    """

    model: str
    fields: tuple[str, ...]


MODEL_NAMES: Final = "model"
FIELD_NAMES: Final = "field"
Completes = RecordNames | str | None
"""What completes an argument: records, `MODEL_NAMES`, `FIELD_NAMES`, or nothing."""


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """An argument of a prompt; all are optional."""

    name: str
    description: str
    max_length: int = MAX_NAME
    completes: Completes = None


@dataclass(frozen=True, slots=True)
class Need:
    """A model without which a prompt makes no sense: its tools and fields."""

    model: str
    operations: tuple[Operation, ...]
    fields: tuple[str, ...] = ()

    def met(self, usable: UsableModels) -> bool:
        """Whether the caller may use all of that."""
        found = usable.get(self.model)
        if found is None or any(found.tool(each) is None for each in self.operations):
            return False
        return len(found.fields(*self.fields)) == len(self.fields)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a prompt is written for: what the caller may use and has given.

    `values` holds only arguments with a text in them. `health` says whether the caller may read
    `server://health`.
    """

    usable: UsableModels
    values: Mapping[str, str]
    health: bool


@dataclass(frozen=True, slots=True)
class Script:
    """A written prompt: its text, and the resources that go with it."""

    text: str
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """A prompt. `write` raises `InvalidArgumentsError` for values that fit nothing."""

    name: str
    title: str
    description: str
    arguments: tuple[PromptArgument, ...]
    needs: tuple[Need, ...]
    write: Callable[[Scene], Script]

    def offered(self, usable: UsableModels) -> bool:
        """Whether there is what the prompt speaks of, for the caller."""
        return all(need.met(usable) for need in self.needs)

    def argument(self, name: str) -> PromptArgument | None:
        """The argument of that name, if there is one."""
        return next((each for each in self.arguments if each.name == name), None)

    def to_mcp(self) -> dict[str, Any]:
        """The prompt as an MCP `Prompt` object."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [
                {"name": each.name, "description": each.description, "required": False}
                for each in self.arguments
            ],
        }
