"""The workflows and templates of an application, by name, and the types of steps it adds."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConfigError, InternalError, InvalidArgumentsError, ModelError
from kailash_mcp_prod.records.problems import shown

DEFAULT_TARGET: Final = "workflows:registry"
_RESERVED: Final = frozenset({"tool", "arguments", "config"})
BUILT_IN: Final = frozenset(
    {"dataflow_operation", "tool", "workflow", "parallel", "sequence", "condition"}
)
"""The types of steps that need no registration."""


@dataclass(frozen=True, slots=True)
class RegisteredWorkflow:
    """A Kailash workflow: a built one, a `WorkflowBuilder`, or a function that makes either.

    `required` and `optional` name its inputs; without either it takes any. `output` is the path of
    its result in the outputs of its nodes, such as `create.result`; without it, all of them are.
    """

    name: str
    workflow: Any
    description: str = ""
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    output: str | None = None

    def built(self) -> Any:
        """The workflow, made anew unless it was given as a built one."""
        made = self.workflow
        if callable(made) and not hasattr(made, "graph") and not hasattr(made, "build"):
            made = made()
        return made.build() if hasattr(made, "build") else made

    def check(self, inputs: Mapping[str, Any], field: str) -> None:
        """Refuses inputs that the workflow does not take.

        Raises:
            InvalidArgumentsError: One is missing or unknown.
        """
        known = (*self.required, *self.optional)
        for name in self.required:
            if name not in inputs:
                raise _wrong(f"{field}.{name}", "this input is required", known)
        for name in inputs:
            if (known and name not in known) or name in _RESERVED:
                raise _wrong(f"{field}.{shown(name)}", "unknown input: remove it", known)

    def result(self, outputs: Mapping[str, Any]) -> Any:
        """What a run has come to.

        Raises:
            InternalError: The workflow has no such output.
        """
        if self.output is None:
            return dict(outputs)
        found: Any = outputs
        for name in self.output.split("."):
            if not isinstance(found, Mapping) or name not in found:
                raise InternalError(
                    f"The workflow {self.name} ended without its output {self.output}. Report the "
                    "request id to its operator."
                )
            found = found[name]
        return found


class StepCall(Protocol):
    """One step of a custom type that runs."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the step was given, references resolved."""

    @property
    def principal(self) -> Principal:
        """Who drives the session."""

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a tool as that principal; a record is not written twice if the step runs again."""

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tells how far the step is."""


StepHandler = Callable[[StepCall], Awaitable[Any]]
"""Does a step of a custom type and returns its result, a JSON value."""


@dataclass(frozen=True, slots=True)
class StepType:
    """A custom type of steps. One that is `repeatable` runs again after it was interrupted."""

    name: str
    handler: StepHandler
    repeatable: bool = False


@dataclass(slots=True)
class WorkflowRegistry:
    """Workflows, templates and step types by name.

    Example:
        ```python
        registry = WorkflowRegistry()
        registry.add_workflow("price_quote", build_price_quote, required=("quote_id",))
        registry.add_template("onboarding", {"create_customer": {"type": "dataflow_operation", …}})
        ```
    """

    workflows: dict[str, RegisteredWorkflow] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    types: dict[str, StepType] = field(default_factory=dict)

    def add_workflow(
        self,
        name: str,
        workflow: Any,
        *,
        description: str = "",
        required: Sequence[str] = (),
        optional: Sequence[str] = (),
        output: str | None = None,
    ) -> None:
        """Registers a workflow; see `RegisteredWorkflow`. One of the same name is replaced.

        Raises:
            ConfigError: `required` or `optional` is no list of names.
        """
        if isinstance(required, str) or isinstance(optional, str):
            raise ConfigError(f'{name}: give required and optional as lists, such as ["name"].')
        self.workflows[name] = RegisteredWorkflow(
            name, workflow, description, tuple(required), tuple(optional), output
        )

    def add_template(self, workflow_type: str, steps: Mapping[str, Mapping[str, Any]]) -> None:
        """Registers the steps of sessions of a type, by name and in order.

        Raises:
            ConfigError: The steps are not given by name.
        """
        if not isinstance(steps, Mapping):
            raise ConfigError(f'{workflow_type}: give the steps by name: {{"make": {{…}}, …}}.')
        self.templates[workflow_type] = {name: dict(each) for name, each in steps.items()}

    def add_step_type(self, name: str, handler: StepHandler, *, repeatable: bool = False) -> None:
        """Registers a type of steps.

        Args:
            name: What `type` of a step says.
            handler: Does the step.
            repeatable: Whether it may run again after the server broke down within it.

        Raises:
            ConfigError: There is such a type already, or the handler is no coroutine function.
        """
        if name in BUILT_IN or name in self.types:
            raise ConfigError(f"{name}: there is a type of steps of this name. Choose another one.")
        if not inspect.iscoroutinefunction(handler) and not inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - of an object that is a handler
        ):
            raise ConfigError(f"{name}: the handler has to be a coroutine function (async def).")
        self.types[name] = StepType(name, handler, repeatable)

    def merge(self, other: WorkflowRegistry) -> None:
        """Takes over what another registry has; what is here already stays."""
        self.workflows = {**other.workflows, **self.workflows}
        self.templates = {**other.templates, **self.templates}
        self.types = {**other.types, **self.types}


def load_registry(target: str) -> WorkflowRegistry | None:
    """Imports the application's registry; `None` where the default one is not there.

    Args:
        target: Such as `workflows:registry`.

    Raises:
        ConfigError: There is no such registry.
        ModelError: The module fails while it is imported.
    """
    module, _, attribute = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    if target == DEFAULT_TARGET and importlib.util.find_spec(module) is None:
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as missing:
        raise ConfigError(f"{target}: there is no module {missing.name}.") from missing
    except Exception as failure:
        raise ModelError(
            f"{module} can't be imported: {type(failure).__name__}: {failure}"
        ) from failure
    if isinstance(found, WorkflowRegistry):
        return found
    if target == DEFAULT_TARGET and found is None:
        # Some other package of that name.
        return None
    raise ConfigError(f"{target} is no WorkflowRegistry. Name one as module:attribute.")


def _wrong(field: str, fix: str, known: tuple[str, ...]) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"{field}: {fix}.", field=field, details={"known_fields": list(known)}
    )
