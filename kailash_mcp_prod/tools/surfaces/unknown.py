"""What a caller is told of a name that is no tool for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from kailash_mcp_prod.errors import NotFoundError, UnknownToolError

_LONGEST = 128


def unknown_tool(name: str, names: Iterable[str], *, elsewhere: str = "") -> UnknownToolError:
    """The error for a name that is not listed.

    Args:
        name: The name.
        names: The names that are listed.
        elsewhere: How else the tool is called, if the caller may.
    """
    message, similar = _said(name, names)
    return UnknownToolError(
        f"{message}{elsewhere or _hint(similar, 'List the tools for names.')}",
        field="name",
        details={"similar": similar} if similar else None,
    )


def no_such_tool(
    name: str, names: Iterable[str], field: str, fix: str, *, kind: str = "tool"
) -> NotFoundError:
    """The error for an argument that names a tool that is none for this caller.

    Args:
        name: The name.
        names: The names of the tools that the caller may use.
        field: The argument.
        fix: Where to find names when no similar one is known.
        kind: What is named, if it is no tool.
    """
    message, similar = _said(name, names, kind)
    return NotFoundError(
        f"{field}: {message}{_hint(similar, fix)}",
        field=field,
        details={"similar": similar} if similar else None,
    )


def _said(name: str, names: Iterable[str], kind: str = "tool") -> tuple[str, list[str]]:
    short = name[:_LONGEST]
    return f"Unknown {kind} '{short}'. ", difflib.get_close_matches(name[:_LONGEST], names, n=3)


def _hint(similar: list[str], otherwise: str) -> str:
    return f"Did you mean {' or '.join(similar)}?" if similar else otherwise
