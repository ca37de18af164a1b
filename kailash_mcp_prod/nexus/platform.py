"""`NexusPlatform`: all that is known here of a Nexus app, its private attributes too.

Nexus has no public way to list or run what is registered. Whoever has to follow a new release of
it finds what that may break in this module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.errors import StartupError

_DURABILITY_HOME: Final = "kailash.servers.durable_workflow_server"
_RESPONSE_CACHE: Final = "ResponseCacheMiddleware"
_CSRF: Final = "CSRFMiddleware"
_RATE_LIMIT: Final = "RateLimitMiddleware"
_JWT: Final = "JWTMiddleware"
_CORS: Final = "CORSMiddleware"
_LONGEST_DESCRIPTION: Final = 500


@dataclass(frozen=True, slots=True, eq=False)
class RegisteredWorkflow:
    """A workflow as Nexus has it.

    Attributes:
        name: Its name.
        workflow: The Kailash workflow.
        description: What it does, as far as anybody has said.
        metadata: What it was registered with.
        handler: The function behind it, if it is one, without its guard.
        guard: What decides who may run it, if anything does.
    """

    name: str
    workflow: Any
    description: str
    metadata: Mapping[str, Any]
    handler: Callable[..., Any] | None = None
    guard: Any = None
    definition: Any = None

    @property
    def node_count(self) -> int:
        """How many nodes it has."""
        return len(getattr(self.workflow, "nodes", ()) or ())


class NexusPlatform:
    """A Nexus app as this package uses it.

    Args:
        app: The `Nexus` instance.

    Raises:
        StartupError: It is none, or has no gateway yet.
    """

    def __init__(self, app: Any) -> None:
        if not hasattr(app, "_registry") or not hasattr(app, "fastapi_app"):
            raise StartupError(
                f"enhance_nexus_with_mcp takes a Nexus app, not {type(app).__name__}."
            )
        if app.fastapi_app is None:
            raise StartupError(
                "The Nexus app has no gateway yet: register a workflow, or start it, before you "
                "call enhance_nexus_with_mcp."
            )
        self.app = app

    @property
    def fastapi_app(self) -> Any:
        """The FastAPI application."""
        return self.app.fastapi_app

    def names(self) -> list[str]:
        """The names of all workflows, in the order in which they came."""
        return list(self._registry.list_workflows())

    def registered(self) -> list[tuple[str, Any, Any]]:
        """What is registered: names, workflows, and how Nexus has the functions behind them."""
        registry = self._registry
        return [
            (name, each, registry.get_handler(name))
            for name, each in registry.list_workflows().items()
        ]

    def is_current(self, known: RegisteredWorkflow) -> bool:
        """Whether a workflow is still registered as it is known."""
        registry = self._registry
        return (
            registry.get_workflow(known.name) is known.workflow
            and registry.get_handler(known.name) is known.definition
        )

    def find(self, name: str) -> RegisteredWorkflow | None:
        """The workflow of that name, as it is now."""
        workflow = self._registry.get_workflow(name)
        if workflow is None:
            return None
        metadata = self._registry.get_workflow_metadata(name) or {}
        definition = self._registry.get_handler(name)
        handler, guard = None, None
        described = metadata.get("description")
        if definition is not None:
            handler, guard = definition.func, definition.guard
            described = described or definition.description
            metadata = {**(definition.metadata or {}), **metadata}
            if guard is not None:
                # The guard that Nexus has put around it is never told who calls.
                handler = getattr(handler, "__wrapped__", None)
        described = described or _own_words(workflow)
        return RegisteredWorkflow(
            name=name,
            workflow=workflow,
            description=_shortened(described),
            metadata=metadata,
            handler=handler,
            guard=guard,
            definition=definition,
        )

    def kept_middleware(self) -> list[Any]:
        """The app's middlewares, the outermost first, without those that would break MCP.

        Left out are the durability layer and the response cache, which answer one user with what
        another one was answered; the CSRF check of the presets, which refuses clients that are no
        browsers, or all that are; and their rate limit by address, which any client can evade.
        What the owner has put there stays.
        """
        kept = [each for each in self.fastapi_app.user_middleware if not _answers_for_others(each)]
        if self.app.active_preset is not None:
            for name in (_CSRF, _RATE_LIMIT):
                # That of the preset was there before anybody could add another one.
                innermost = [each for each in kept if each.cls.__name__ == name][-1:]
                kept = [each for each in kept if each not in innermost]
        return kept

    @property
    def has_auth(self) -> bool:
        """Whether the app asks for credentials, as far as its own means go."""
        if getattr(self.app, "_enable_auth", False):
            return True
        return any(
            base.__name__ == _JWT
            for each in self.fastapi_app.user_middleware
            for base in getattr(each.cls, "__mro__", ())
        )

    @property
    def allowed_origins(self) -> set[str]:
        """The web pages that the app lets call, where it names them."""
        found: set[str] = set()
        for each in self.fastapi_app.user_middleware:
            if each.cls.__name__ == _CORS:
                found.update(each.kwargs.get("allow_origins") or ())
        return found - {"*"}

    @property
    def own_mcp_port(self) -> int | None:
        """The port of Nexus's own MCP server, on which nobody is asked for a credential."""
        thread, server = (getattr(self.app, each, None) for each in ("_mcp_thread", "_mcp_server"))
        if thread is None or server is None or not thread.is_alive():
            return None
        port: int | None = getattr(self.app, "_mcp_port", None)
        return port

    @property
    def _registry(self) -> Any:
        return self.app._registry  # noqa: SLF001 - Nexus has no other way in


def _answers_for_others(middleware: Any) -> bool:
    """Whether it answers a request with what another one was answered, whoever sent that."""
    dispatch = middleware.kwargs.get("dispatch")
    durability = getattr(dispatch, "__module__", None) == _DURABILITY_HOME
    return durability or bool(middleware.cls.__name__ == _RESPONSE_CACHE)


def _own_words(workflow: Any) -> str:
    metadata = getattr(workflow, "metadata", None)
    told = metadata.get("description") if isinstance(metadata, Mapping) else None
    return told or getattr(workflow, "description", None) or ""


def _shortened(text: Any) -> str:
    said = inspect.cleandoc(text) if isinstance(text, str) else ""
    return said if len(said) <= _LONGEST_DESCRIPTION else f"{said[: _LONGEST_DESCRIPTION - 1]}…"
