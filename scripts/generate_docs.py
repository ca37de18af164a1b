"""Writes docs/configuration.md from `ServerConfig`: `python scripts/generate_docs.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from kailash_mcp_prod.config import ServerConfig

TARGET = Path(__file__).parents[1] / "docs" / "configuration.md"
WITHOUT_PREFIX = {"api_keys", "database_url", "jwt_secret", "redis_url"}
SECRETS = {
    *("api_key", "api_keys", "bearer_tokens", "cursor_secret", "introspection_client_secret"),
    *("jwt_secret", "token", "audit_former_secrets"),
}

HEAD = """\
# Configuration

A setting comes from a flag of `serve`, else from the environment, else from a file in the directory
`MCP_SECRETS_DIR`, else from the JSON file that `--config` or `MCP_CONFIG_FILE` names, else from its
default. Unknown keys are errors; a variable that looks like a misspelt one of ours is warned about.
Lists may be JSON or text with commas. Secrets have no flag, because command lines are there for
every user of a machine to see.

A file in `MCP_SECRETS_DIR` has the name of a variable, such as `JWT_SECRET` or `jwt_secret`, and
holds its value, as [containers](containers.md#secrets) get their secrets. Files with other names
are left alone.

| key | variable | default | meaning |
|---|---|---|---|
"""


def default_of(field: FieldInfo) -> str:
    """The default as it stands in the table."""
    value: Any = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{json.dumps(to_jsonable_python(value))}`".replace('"', "")


def render() -> str:
    """The whole page."""
    rows = []
    for key, field in ServerConfig.model_fields.items():
        variable = key.upper() if key in WITHOUT_PREFIX else f"MCP_{key.upper()}"
        text = (field.description or "").replace("|", "\\|")
        flag = " No flag." if key in SECRETS else ""
        rows.append(f"| `{key}` | `{variable}` | {default_of(field)} | {text}{flag} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
