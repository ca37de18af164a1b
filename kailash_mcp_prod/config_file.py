"""Reads the settings file: JSON, which may have comments and commas before a closing bracket."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Final

from kailash_mcp_prod.errors import ConfigError

CONFIG_FILE_VARIABLE: Final = "MCP_CONFIG_FILE"
SCHEMA_KEY: Final = "$schema"
"""By this key editors find the schema of a file; it is no setting."""

# What stands in a text of JSON is passed over, so that an address in it is no comment.
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENT: Final = re.compile(rf"({_STRING})|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
# A comma that follows no value is as wrong as ever.
_LAST_COMMA: Final = re.compile(rf"({_STRING}|[{{\[,]\s*,)|,(?=\s*[}}\]])", re.DOTALL)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        ConfigError: It can't be read, or holds no JSON object.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # What comes through a pipe is there once, and settings are read more often.
            raise ConfigError(f"The configuration file {path} is no regular file.")
        raw = path.read_bytes()
        settings = json.loads(_plain(raw.decode(json.detect_encoding(raw))))
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist.") from None
    except OSError as failure:
        raise ConfigError(
            f"The configuration file {path} can't be read: {failure.strerror}."
        ) from None
    except json.JSONDecodeError as failure:
        # Only where: what stands there may be a secret.
        raise ConfigError(
            f"The configuration file {path} is not valid JSON: see line {failure.lineno}, "
            f"column {failure.colno}."
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"The configuration file {path} is not valid JSON.") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"The configuration file {path} must hold a JSON object.")
    settings.pop(SCHEMA_KEY, None)
    return settings


def _plain(text: str) -> str:
    """The same without comments and last commas; everything else stays where it is."""
    return _LAST_COMMA.sub(_blank, _COMMENT.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    return found[1] or re.sub(r"[^\r\n]", " ", found[0])
