"""The demonstration passes in each mode, and against servers that run already."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.forked import ForkedProcess
from tests.e2e.servers import COMMAND, HttpServer, environment, running, serving
from tests.e2e.test_tools_command import run

MODES = ["standalone", "development", "nexus-integration"]
SECTIONS = [
    *("Session", "Discovery", "Records", "Collaboration", "Workflow"),
    *("Monitoring", "Health"),
]
KEY = "a-key-for-the-demonstration-of-an-agent"
PARTNER = "a-key-for-the-demonstration-of-a-partner"

# A server and a client are started for each mode, Nexus among them.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What the command prints in each mode: two of the reference models, one without any."""

    def show(mode: str) -> tuple[int, str, str]:
        plain = mode == "development"
        flags = ["demo", "--mode", mode, *([] if plain else ["--json"])]
        variables = environment(**({"PYTHONPATH": ""} if plain else {}))
        workdir = tmp_path_factory.mktemp(mode)
        with ForkedProcess(flags, cwd=workdir, env=variables) as process:
            output, errors = process.communicate(150)
            return process.wait(), output, errors

    with ThreadPoolExecutor(len(MODES)) as at_once:
        return dict(zip(MODES, at_once.map(show, MODES), strict=True))


def outcomes(output: str) -> dict[str, list[str]]:
    """The steps by how they went."""
    found: dict[str, list[str]] = {}
    for step in json.loads(output)["steps"]:
        found.setdefault(step["outcome"], []).append(f"{step['section']}: {step['name']}")
    return found


@pytest.mark.parametrize("mode", ["standalone", "nexus-integration"])
def test_every_step_is_done_on_a_fresh_server_that_asks_for_keys(
    mode: str, shown: dict[str, tuple[int, str, str]]
) -> None:
    code, output, errors = shown[mode]

    assert code == 0, output + errors
    steps = json.loads(output)["steps"]
    assert list(outcomes(output)) == ["ok"]
    sections = list(dict.fromkeys(step["section"] for step in steps))
    nexus = ["Nexus"] if mode == "nexus-integration" else []
    assert sections == [*SECTIONS[:5], *nexus, *SECTIONS[5:]]
    details = {step["name"]: step["detail"] for step in steps}
    assert details["create a record"].startswith("Company ")
    assert ("Hello, Ada!" in details.values()) is (mode == "nexus-integration")


def test_without_models_and_a_terminal_the_starter_is_shown_in_plain_lines(
    shown: dict[str, tuple[int, str, str]],
) -> None:
    code, output, errors = shown["development"]

    assert code == 0, output + errors
    assert "serves the starter application, on its own database" in errors
    assert "\x1b" not in output
    assert "  ok       list the tools           43 tools" in output
    # All callers are one there.
    assert output.count("skipped  ") == 2
    assert output.endswith("26 ok, 2 skipped\n")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    keys = {
        KEY: {"agent_id": "agent", "permissions": ["*"]},
        PARTNER: {"agent_id": "partner", "permissions": ["session:*"]},
        "few": {"permissions": ["*"], "rate_limit": 4},
        "reader": {"permissions": ["*:read"]},
    }
    settings = {"API_KEYS": json.dumps(keys)}
    with serving(tmp_path_factory.mktemp("guarded"), settings=settings) as server:
        yield server


def test_a_running_server_is_shown_and_left_as_it_was(guarded: HttpServer, tmp_path: Path) -> None:
    url = ["--url", guarded.mcp]
    names = ["--api-key-env", "THE_KEY", "--partner-key-env", "OTHER"]
    settings = {"THE_KEY": KEY, "OTHER": PARTNER, "MCP_API_KEY": KEY}

    code, output, errors = run("demo", *url, *names, "--json", workdir=tmp_path, settings=settings)
    _, left, _ = run("call", "Company_list", *url, workdir=tmp_path, settings=settings)

    assert (code, errors) == (0, "")
    assert list(outcomes(output)) == ["ok"]
    assert json.loads(left)["records"] == []
    assert KEY not in output


def test_a_step_that_fails_is_told_in_the_words_of_the_server(
    guarded: HttpServer, tmp_path: Path
) -> None:
    settings = {"MCP_API_KEY": "few"}

    code, output, _ = run("demo", "--url", guarded.mcp, workdir=tmp_path, settings=settings)

    assert code == 1
    assert "  failed   create a record          More than 4 calls in a minute." in output


def test_what_a_credential_may_not_do_is_skipped(guarded: HttpServer, tmp_path: Path) -> None:
    settings = {"MCP_API_KEY": "reader"}
    flags = ["--url", guarded.mcp, "--json"]

    code, output, _ = run("demo", *flags, workdir=tmp_path, settings=settings)

    found = outcomes(output)
    assert code == 1
    assert found["failed"] == ["Records: create a record"]
    assert "Collaboration: open a workspace" in found["skipped"]
    assert "Discovery: list the tools" in found["ok"]


def test_a_demonstration_that_is_told_to_stop_stops_its_server(tmp_path: Path) -> None:
    with running(tmp_path, program=[*COMMAND, "demo"]) as process:
        process.errors.find("serves models:db")
        [server] = psutil.Process(process.process.pid).children()

        assert process.end(seconds=40) == 128 + signal.SIGTERM
        assert not server.is_running()


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--url", "http://127.0.0.1:1/mcp"], 1, "could not be reached"),
        (["--url", "http://u:hunter2@h/mcp"], 2, "must not hold a user or password"),
        (["--models", "nowhere:db"], 1, "There is no module 'nowhere'"),
        (["--mode", "production"], 2, "nexus-integration"),
        (["--nexus", "a:b"], 2, "--nexus has no effect in the mode standalone: say --mode nexus-"),
        (["--nexus", "a:b", "--mode", "development"], 2, "no effect in the mode development"),
        (["--url", "http://h/mcp", "--nexus", "a:b"], 2, "leave out --nexus or --url"),
        (["--url", "http://h/mcp", "--models", "a:b"], 2, "leave out --models or --url"),
        (["--url", "http://h/mcp", "--mode", "development"], 2, "leave out --mode or --url"),
        (["--api-key-env", "KEY"], 2, "with --url, or leave out --api-key-env"),
        (["--partner-key-env", "KEY"], 2, "with --url, or leave out --partner-key-env"),
    ],
)
def test_a_demonstration_that_can_t_begin_says_why(
    flags: list[str], code: int, said: str, tmp_path: Path
) -> None:
    exit_code, output, errors = run("demo", *flags, workdir=tmp_path)

    assert (exit_code, output) == (code, "")
    assert said in errors
    assert "Traceback" not in errors
    assert "hunter2" not in errors
