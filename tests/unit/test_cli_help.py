"""Every command's help teaches: what it is for, and an example that is right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app

PROGRAM = "kailash-mcp-prod"


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands that do something, with the words that name them."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from commands(command.get_command(None, name), (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))
IDS = [" ".join(path) for path in COMMANDS]


def test_there_are_all_commands() -> None:
    groups = {path[0] for path in COMMANDS}

    assert groups == {
        *("serve", "tools", "call", "explain", "init", "doctor", "demo"),
        *("config", "key", "token", "audit", "health"),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=IDS)
def test_a_command_says_what_it_is_for_and_gives_an_example(path: tuple[str, ...]) -> None:
    purpose, *_, example = (COMMANDS[path].help or "").strip().split("\n\n")

    assert purpose.rstrip().endswith(".")
    found = re.fullmatch(rf"Example: {PROGRAM} (.+)", example)
    assert found, example
    words = shlex.split(found[1].partition(" > ")[0].partition(" < ")[0])
    assert tuple(words[: len(path)]) == path
    # Its options and arguments are those of the command; nothing is run.
    with COMMANDS[path].make_context(path[-1], words[len(path) :]):
        pass


def test_every_option_and_argument_is_explained() -> None:
    silent = [
        (*path, parameter.name)
        for path, command in COMMANDS.items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]

    assert silent == []


@pytest.mark.parametrize("path", COMMANDS, ids=IDS)
def test_the_help_is_printed(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*path, "--help"])

    assert shown.exit_code == 0
    assert f"Example: {PROGRAM} {' '.join(path)}"[:60] in " ".join(shown.stdout.split())
