"""Agent nodes in the environment that they need, with a model on this machine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.servers import environment
from tests.interop.peers import HERE, peer_python
from tests.model_server import ModelServer

MODEL_KEY = "sk-a-key-for-the-local-model"


def settings_for(model: ModelServer, message: str, **more: Any) -> dict[str, Any]:
    """The settings of a node that asks a model on this machine."""
    return {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "api_key": MODEL_KEY,
        "base_url": model.url,
        "messages": [{"role": "user", "content": message}],
        **more,
    }


def run_jobs(jobs: dict[str, dict[str, Any]], workdir: Path) -> tuple[dict[str, Any], str]:
    """Run nodes, and return what they have put out, and everything that they have logged.

    Args:
        jobs: As `tests/interop/agent_jobs.py` takes them.
        workdir: Where they run.
    """
    done = subprocess.run(
        [peer_python("agent"), HERE / "agent_jobs.py"],
        input=json.dumps(jobs),
        cwd=workdir,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    reports: dict[str, Any] = json.loads(done.stdout)
    return reports, done.stderr


def run_programs(*programs: Path, **settings: str) -> list[str]:
    """Run programs that use agent nodes, and return what each has printed.

    Args:
        programs: Their files.
        settings: Environment variables.
    """
    done = subprocess.run(
        [peer_python("agent"), HERE / "agent_programs.py", *programs],
        cwd=programs[0].parent,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed: list[str] = json.loads(done.stdout)
    return printed
