"""The text of a settings file that explains every key and sets none."""

from __future__ import annotations

import json
import textwrap
from itertools import groupby
from typing import Final

from kailash_mcp_prod.config_catalogue import Setting, all_settings

SCHEMA_FILE: Final = "settings.schema.json"
_WIDTH = 96
_HEAD = """\
// The settings of the server: serve --config settings.jsonc
//
// Every key stands here with its default, behind a comment: what you leave so stays the default.
// A flag of `serve` goes before the environment, that before this file. A key that is misspelt is
// refused, with the one that may be meant. `kailash-mcp-prod config show` says what holds and why.
{
"""
# The last one has no comma, so that every line above is right as soon as it is no comment.
_END = f"""
  // By this, editors complete keys. Anew: kailash-mcp-prod config schema > {SCHEMA_FILE}
  "$schema": "./{SCHEMA_FILE}"
}}
"""


def settings_file() -> str:
    """The whole file."""
    parts = []
    for section, settings in groupby(all_settings(), key=lambda each: each.section):
        parts.append(f"  // ---- {section}\n\n" + "\n".join(map(_entry, settings)))
    return _HEAD + "\n".join(parts) + _END


def _entry(setting: Setting) -> str:
    where = f"In the environment: {setting.variable}."
    if setting.secret:
        where = f"A secret: better in the environment, as {setting.variable}."
    text = textwrap.fill(
        f"{setting.description} {where}",
        _WIDTH,
        initial_indent="  // ",
        subsequent_indent="  // ",
        break_on_hyphens=False,
    )
    value = json.dumps(setting.default, ensure_ascii=False)
    return f"{text}\n  // {json.dumps(setting.key)}: {value},\n"
