"""The files of a starter application, by their names."""

from __future__ import annotations

import json
import secrets
import shlex
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from kailash_mcp_prod.config_schema import settings_schema
from kailash_mcp_prod.starter.settings_file import SCHEMA_FILE, settings_file

SETTINGS_FILE: Final = "settings.jsonc"
ENVIRONMENT_FILE: Final = ".env"
_SERVER: Final = "kailash"
_TEXTS: Final = {
    "models/__init__.py": "models.txt",
    "models/sample_data.py": "sample_data.txt",
    ".env.example": "env_example.txt",
    ".gitignore": "gitignore.txt",
    "README.md": "readme.txt",
    "clients/llm_agent.py": "llm_agent.txt",
}


def starter_files(directory: Path, python: str, *, environment: bool = False) -> dict[str, str]:
    """The text of each file by its name.

    Args:
        directory: Where they will be; clients are told the absolute path.
        python: The interpreter that has this package.
        environment: Whether there is a `.env` with new secrets among them.
    """
    home = directory.resolve()
    command = {
        "command": python,
        "args": ["-m", "kailash_mcp_prod", "serve", "--transport", "stdio", "--no-auth"],
        "env": {"PYTHONPATH": str(home), "MCP_CONFIG_FILE": str(home / SETTINGS_FILE)},
    }
    words = {
        "name": home.name or "application",
        "home": shlex.quote(str(home)),
        "python": shlex.quote(python),
        "command": _literal(python),
        "path": _literal(str(home)),
        "settings": _literal(str(home / SETTINGS_FILE)),
    }
    found = {name: Template(_text(source)).substitute(words) for name, source in _TEXTS.items()}
    found[SETTINGS_FILE] = settings_file()
    found[SCHEMA_FILE] = _json(settings_schema())
    found["clients/claude_desktop_config.json"] = _json({"mcpServers": {_SERVER: command}})
    found["clients/.cursor/mcp.json"] = _json({"mcpServers": {_SERVER: command}})
    found["clients/.vscode/mcp.json"] = _json({"servers": {_SERVER: {"type": "stdio", **command}}})
    if environment:
        found[ENVIRONMENT_FILE] = _environment(found[".env.example"])
    return dict(sorted(found.items()))


def _environment(example: str) -> str:
    """The example with a secret for tokens, and a key that may do everything."""
    key = secrets.token_urlsafe(32)
    keys = json.dumps({key: {"agent_id": "owner", "permissions": ["*"]}})
    values = {"JWT_SECRET": secrets.token_urlsafe(48), "API_KEYS": keys, "MCP_API_KEY": key}
    for name, value in values.items():
        example = example.replace(f"\n{name}=\n", f"\n{name}={shlex.quote(value)}\n")
    return example


def _literal(text: str) -> str:
    """A text for a program, which unlike JSON has no two halves of a character."""
    return json.dumps(text, ensure_ascii=False)


def _text(source: str) -> str:
    return files(__package__).joinpath("files", source).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
