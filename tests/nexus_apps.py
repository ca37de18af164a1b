"""Nexus apps for tests: quiet, and with users who may do different things."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt

SECRET = "nexus-test-secret-of-forty-characters-xx"
PREFIX = "/api/mcp"
EVENTS = ("application/json, text/event-stream",)
_NOISY = ("nexus", "kailash", "kailash_mcp", "HandlerNode", "mcp")


@contextmanager
def quiet() -> Iterator[None]:
    """Nexus warns of much, and sets up the logging of whoever imports it."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            root.setLevel(level)
            root.handlers[:] = handlers
            for name in _NOISY:
                logging.getLogger(name).setLevel(logging.CRITICAL)


def make_app(*, auth: bool = False, **settings: Any) -> Any:
    """An app with three workflows: `greet`, `add` of two nodes, and `fail`."""
    with quiet():
        from kailash.workflow.builder import WorkflowBuilder
        from nexus import Nexus

        app = Nexus(auto_discovery=False, api_port=8000, mcp_port=3001, **settings)
        if auth:
            add_auth(app)

        @app.handler("greet", description="Greets somebody.")
        async def greet(name: str, greeting: str = "Hello") -> dict[str, str]:
            return {"message": f"{greeting}, {name}!"}

        adding = WorkflowBuilder()
        adding.add_node(
            "PythonCodeNode", "sum", {"code": "result = parameters['a'] + parameters['b']"}
        )
        app.register("add", adding.build(), metadata={"description": "Adds a and b."})

        @app.handler("fail", description="Fails.")
        async def fail(how: str = "ValueError") -> dict[str, str]:
            kinds: dict[str, type[Exception]] = {"ValueError": ValueError, "OSError": OSError}
            raise kinds[how]("postgresql://user:password@host/db")

    return app


def add_auth(app: Any, **settings: Any) -> None:
    """Lets the app ask for tokens that are signed with `SECRET`."""
    with quiet():
        from nexus.auth import JWTConfig
        from nexus.auth.plugin import NexusAuthPlugin

        app.add_plugin(NexusAuthPlugin(jwt=JWTConfig(secret=SECRET), **settings))


def token(subject: str, *permissions: str, seconds: float = 86_400, **claims: Any) -> str:
    """A token of a user, as the app's own identity provider would sign it.

    Some are made while tests are collected, and needed until all of them have run.
    """
    now = int(time.time())
    payload = {"sub": subject, "permissions": list(permissions), "iat": now, **claims}
    if seconds:
        payload["exp"] = now + seconds
    return jwt.encode(payload, SECRET, algorithm="HS256")


def bearer(subject: str, *permissions: str, **claims: Any) -> dict[str, str]:
    """The header with such a token."""
    return {"Authorization": f"Bearer {token(subject, *permissions, **claims)}"}


@contextmanager
def closing(app: Any) -> Iterator[Any]:
    """Closes the app."""
    try:
        yield app
    finally:
        with quiet():
            app.close()
