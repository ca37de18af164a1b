"""What docs/workflows.md shows is what the server does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.forked import commands
from tests.e2e.servers import DEVELOPMENT, ROOT, HttpServer, environment, serving
from tests.e2e.snippets import snippets

PAGE = ROOT / "docs" / "workflows.md"


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The registry of the page, as `own_workflows.py` in a directory."""
    registering, _, typing = snippets(PAGE, "python")
    (tmp_path / "own_workflows.py").write_text(f"{registering}\n\n{typing}", encoding="utf-8")
    return tmp_path


def test_the_page_drives_a_session_and_its_own_registry(application: Path) -> None:
    start, execute = (json.loads(text) for text in snippets(PAGE, "json"))
    flags = [*DEVELOPMENT, "--workflows", "own_workflows:registry"]
    with serving(application, *flags) as server:
        session = ask(server, "create_agent_workflow_session", **start)["workflow_session_id"]

        def step(name: str, **config: Any) -> Any:
            return ask(
                server,
                "execute_workflow_step",
                workflow_session_id=session,
                step_name=name,
                step_config=config,
            )["result"]

        customer = ask(
            server, "execute_workflow_step", **{**execute, "workflow_session_id": session}
        )
        both = step("both", type="workflow", workflow="two_companies", inputs={"name": "Acme"})
        asked = step(
            "ask", type="call_supplier", parameters={"company_id": "{{previous_result.id}}"}
        )

    assert customer["result"]["name"] == "Nordbau GmbH"
    assert both["name"] == "Acme & Sons"
    assert asked == {"asked": "Acme & Sons"}


def test_the_script_of_the_page_runs(application: Path) -> None:
    script = "from own_workflows import two_companies\n" + snippets(PAGE, "python")[1]
    (application / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [commands() / "python-file", "script.py"],
        cwd=application,
        env=environment(DATABASE_URL=f"sqlite:///{application / 'page.db'}"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "Acme & Sons\n"


def ask(server: HttpServer, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.rest}/tools/{tool}", json=arguments, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
