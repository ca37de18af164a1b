from __future__ import annotations

import gzip
import json

from kailash_mcp_prod.tools.lists import EncodedList

TOOLS = [{"name": f"tool_{number}", "inputSchema": {"type": "object"}} for number in range(100)]


def test_the_forms_of_a_list_say_the_same() -> None:
    tools = EncodedList(TOOLS)

    assert json.loads(tools.body) == TOOLS
    assert json.loads(tools.document) == {"tools": TOOLS}
    assert gzip.decompress(tools.gzipped) == tools.document
    assert len(tools.gzipped) < len(tools.document) / 5


def test_each_form_is_made_once() -> None:
    tools = EncodedList(TOOLS)

    assert tools.gzipped is tools.gzipped
    assert tools.document is tools.document
    assert tools.fingerprint is tools.fingerprint


def test_a_fingerprint_is_of_the_list_alone() -> None:
    assert EncodedList(TOOLS).fingerprint == EncodedList(list(TOOLS)).fingerprint
    assert EncodedList(TOOLS).gzipped == EncodedList(list(TOOLS)).gzipped
    assert EncodedList(TOOLS).fingerprint != EncodedList(TOOLS[1:]).fingerprint
