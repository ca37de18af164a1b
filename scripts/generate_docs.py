"""Writes docs/configuration.md from `ServerConfig`: `python scripts/generate_docs.py`."""

from __future__ import annotations

import json
from pathlib import Path

from kailash_mcp_prod.config_catalogue import Setting, all_settings

TARGET = Path(__file__).parents[1] / "docs" / "configuration.md"

HEAD = """\
# Configuration

A setting comes from a flag of `serve`, else from the environment, else from a file in the directory
`MCP_SECRETS_DIR`, else from the JSON file that `--config` or `MCP_CONFIG_FILE` names, else from its
default. Unknown keys are errors; a variable that looks like a misspelt one of ours is warned about.
Lists may be JSON or text with commas. The file may have comments (`//` and `/* */`), commas before
a closing bracket, and a `$schema` for editors; `kailash-mcp-prod init` writes one with every key.
Secrets have no flag, because command lines are there for every user of a machine to see.

A file in `MCP_SECRETS_DIR` has the name of a variable, such as `JWT_SECRET` or `jwt_secret`, and
holds its value, as [containers](containers.md#secrets) get their secrets. Files with other names
are left alone.

| key | variable | default | meaning |
|---|---|---|---|
"""


def default_of(setting: Setting) -> str:
    """The default as it stands in the table."""
    value = setting.default
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, list):
        return f"`{','.join(value)}`"
    return f"`{json.dumps(value)}`".replace('"', "")


def render() -> str:
    """The whole page."""
    rows = []
    for each in all_settings():
        text = each.description.replace("|", "\\|")
        flag = " No flag." if each.secret else ""
        rows.append(f"| `{each.key}` | `{each.variable}` | {default_of(each)} | {text}{flag} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
