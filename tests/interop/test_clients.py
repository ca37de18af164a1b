from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.peers import HERE, peer_python, run_client

REFERENCE = str(HERE / "reference_server.py")

CALLS: list[Any] = [
    ["remember", {"text": "first"}],
    ["remember", {"text": "second"}],
    ["recall", {"number": {"$ref": [1, "id"]}}],
    ["recall", {"number": 99}],
]

SPEAKING = [
    ("sdk1", [], "2025-11-25"),
    ("sdk2", ["--era", "auto"], "2026-07-28"),
    ("sdk2", ["--era", "legacy"], "2025-11-25"),
    ("sdk2", ["--era", "modern"], "2026-07-28"),
]

# The first test of a session may have to make the environments.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def reference_url() -> Iterator[str]:
    with subprocess.Popen(
        [peer_python("sdk2"), REFERENCE, "http"], stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stderr is not None
            address = next(filter(None, (re.search(r"http://\S+", line) for line in server.stderr)))
            yield f"{address[0]}/mcp"
        finally:
            server.terminate()


def assert_reference_answers(report: dict[str, Any], protocol: str) -> None:
    assert report["protocol"] == protocol
    assert report["tools"] == ["remember", "recall"]
    first, second, recalled, missing = report["results"]
    assert second["structured"]["id"] == first["structured"]["id"] + 1
    assert recalled["structured"] == {"text": "second"}
    assert [first["is_error"], recalled["is_error"], missing["is_error"]] == [False, False, True]
    assert "no note 99" in missing["text"]


@pytest.mark.parametrize(("client", "options", "protocol"), SPEAKING)
def test_each_client_reports_what_the_reference_server_answers_over_stdio(
    client: str, options: list[str], protocol: str
) -> None:
    command = [str(peer_python("sdk2")), REFERENCE, "stdio"]

    report = run_client(client, "stdio", *options, "--", *command, calls=CALLS)

    assert_reference_answers(report, protocol)


@pytest.mark.parametrize(("client", "options", "protocol"), SPEAKING)
def test_each_client_reports_what_the_reference_server_answers_over_http(
    client: str, options: list[str], protocol: str, reference_url: str
) -> None:
    report = run_client(client, "http", *options, reference_url, calls=CALLS)

    assert_reference_answers(report, protocol)


def test_a_client_that_reaches_no_server_fails_aloud() -> None:
    with pytest.raises(RuntimeError, match="client sdk1 failed"):
        run_client("sdk1", "stdio", "--", "false", calls=[])
