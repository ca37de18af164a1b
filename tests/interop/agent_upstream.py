"""Reports what `MCPLLMAgentNode` relies on in the stock node, as JSON.

`sources` has a digest of each method that it overrides, and of those that call them; `unsafe` has
what is said of a stock node that has changed.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys

import kaizen.nodes.ai
from kailash.nodes.base import NodeRegistry

from kailash_mcp_prod import agents

METHODS = ["run", "async_run", "get_parameters", *agents._OVERRIDDEN]


class Renamed:
    """Lacks all methods."""


class Changed(kaizen.nodes.ai.LLMAgentNode):
    """Takes another argument."""

    def _discover_mcp_tools(self, mcp_servers, kwargs=None, cache=None):
        return []


def said_of(base: type) -> str:
    try:
        agents.require_known(base)
    except ImportError as error:
        return str(error)
    return ""


def digest(name: str) -> str:
    source = inspect.getsource(getattr(kaizen.nodes.ai.LLMAgentNode, name))
    return hashlib.sha256(source.encode()).hexdigest()[:16]


json.dump(
    {
        "sources": {name: digest(name) for name in METHODS},
        "unsafe": [said_of(Renamed), said_of(Changed)],
        "registered": NodeRegistry.get("MCPLLMAgentNode") is agents.MCPLLMAgentNode,
        "stock": NodeRegistry.get("LLMAgentNode") is kaizen.nodes.ai.LLMAgentNode,
    },
    sys.stdout,
)
