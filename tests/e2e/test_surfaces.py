from __future__ import annotations

from pathlib import Path

from tests.e2e.exchanges import Stdio
from tests.e2e.servers import STDIO, forked


def test_a_flag_chooses_the_surface_of_a_stdio_server(tmp_path: Path) -> None:
    with forked(tmp_path, *STDIO, "--surface", "search") as process:
        client = Stdio(process)
        client.initialize()
        tools = client.request("tools/list")["result"]["tools"]
        found = client.request(
            "tools/call", name="search_tools", arguments={"query": "which quotes are open"}
        )["result"]["structuredContent"]["tools"]
        call = {"name": found[0]["name"], "arguments": {"limit": 1}}
        listed = client.request("tools/call", name="call_tool", arguments=call)["result"]

    assert [each["name"] for each in tools] == ["search_tools", "describe_tool", "call_tool"]
    assert found[0]["name"] == "Quote_list"
    assert listed["structuredContent"]["limit"] == 1
