"""Which resources a call has changed, and who may hear of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.uris import model_uri, record_uri
from kailash_mcp_prod.records.operations import TRAITS, Operation
from kailash_mcp_prod.tools.spec import ToolSpec

Audience = Callable[[Principal], bool]

MAX_RECORDS: Final = 100
_WRITES: Final = frozenset(each for each in Operation if TRAITS[each].access == "write")


def updated_uris(tool: ToolSpec, result: Mapping[str, Any]) -> list[str]:
    """The URIs of the records that a successful call has written, and of their model.

    Of more than `MAX_RECORDS` records at once only the model's.

    Args:
        tool: The tool that was called.
        result: Its structured result.
    """
    if tool.operation not in _WRITES:
        return []
    keys = (
        result["ids"] if "ids" in result else [result[name] for name in ("id",) if name in result]
    )
    if not keys:
        return []
    told = keys if len(keys) <= MAX_RECORDS else []
    return [*(record_uri(tool.group, each) for each in told), model_uri(tool.group)]
