from __future__ import annotations

import json
import re
from pathlib import Path

from tests.e2e.exchanges import Stdio, check_incoming
from tests.e2e.servers import STDIO, running
from tests.wire_schema import LEGACY

WAYS = ("print", "sys.stdout", "os.write", "puts", "child", "logging")
PLACES = ("import", "thread", "default")


def test_standard_output_carries_the_protocol_alone_whatever_the_application_writes(
    tmp_path: Path,
) -> None:
    flags = [*STDIO, "--log-level", "DEBUG", "--models", "tests.e2e.noisy_app:db"]
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'notes.db'}"}
    with running(tmp_path, *flags, settings=settings) as process:
        client = Stdio(process)
        client.initialize()
        assert len(client.request("tools/list")["result"]["tools"]) == 34
        created = client.request("tools/call", name="Note_create", arguments={"data": {}})
        assert created["result"]["structuredContent"]["text"] == "made with noise"
        refused = client.request("tools/call", name="Note_create", arguments={})
        assert refused["result"]["isError"] is True
        process.close_input()
        assert process.process.wait(20) == 0
        output, errors = process.output.finish(), process.errors.finish()

    assert output.endswith("\n")
    for line in output.splitlines():
        check_incoming(LEGACY, json.loads(line))
    for way in WAYS:
        for place in PLACES:
            assert f"NOISE {way} {place}" in errors
    assert re.search(r"^dataflow\.\S+: ", errors, re.MULTILINE)
