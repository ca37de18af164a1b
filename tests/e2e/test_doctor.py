from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

from tests.e2e.servers import HttpServer
from tests.e2e.test_tools_command import run

SECRET = "hunter2-which-nobody-may-see-anywhere"


def told(output: str) -> dict[str, dict[str, Any]]:
    """The first finding of each check."""
    return {each["check"]: each for each in reversed(json.loads(output)["checks"])}


def test_a_good_set_up_is_found_well_and_left_as_it_was(tmp_path: Path) -> None:
    database = tmp_path / "app.db"
    settings = {
        "DATABASE_URL": f"sqlite:///{database}",
        "API_KEYS": json.dumps({SECRET: {"permissions": ["*"]}}),
        "MCP_PORT": "0",
    }

    code, output, errors = run("doctor", workdir=tmp_path, settings=settings)

    assert code == 0, output
    lines = [re.split(r"\s{2,}", line, maxsplit=2)[:2] for line in output.splitlines()]
    assert lines == [
        ["ok", "configuration"],
        ["ok", "versions"],
        ["ok", "extras"],
        ["ok", "permissions"],
        ["ok", "ports"],
        ["ok", "database"],
        ["skip", "redis"],
        ["ok", "round trip"],
    ]
    assert "A client sees 142 tools" in output
    assert errors == "7 well\n"
    assert list(tmp_path.iterdir()) == []


def test_where_everything_is_broken_everything_is_told_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"jwt_secret": "hunter2", "prot": 1}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {
            "DATABASE_URL": f"postgresql://user:{SECRET}@127.0.0.1:1/db",
            "REDIS_URL": f"redis://:{SECRET}@127.0.0.1:1/0",
            "MCP_PORT": str(taken.getsockname()[1]),
            "MCP_MAX_SESSION": "1",
            "XDG_CACHE_HOME": "/dev/null/cache",
        }
        flags = ["--config", "settings.json", "--models", "nowhere:db", "--json"]
        code, output, errors = run("doctor", *flags, workdir=tmp_path, settings=settings)

    assert code == 1
    found = told(output)
    broken = ["configuration", "ports", "database", "redis", "round trip"]
    failing = [name for name, each in found.items() if each["status"] == "fail"]
    assert failing == broken[::-1]
    assert all(found[name]["fix"] for name in broken)
    assert "There is no module 'nowhere'" in found["round trip"]["message"]
    assert found["permissions"]["status"] == "warn"
    assert "hunter2" not in output + errors
    assert json.loads(output)["ok"] is False


def test_a_running_server_is_asked(development_server: HttpServer, tmp_path: Path) -> None:
    url = ["--url", development_server.mcp]
    code, output, _ = run("doctor", *url, "--json", "--config", "none", workdir=tmp_path)

    # Its own settings are not known here.
    assert code == 1
    found = told(output)
    assert [name for name, each in found.items() if each["status"] == "fail"] == ["configuration"]
    assert "A client sees 142 tools" in found["round trip"]["message"]


def test_a_server_that_is_not_there_and_an_address_with_a_password(tmp_path: Path) -> None:
    settings = {"MCP_ENABLE_AUTH": "false"}
    gone, output, _ = run(
        *("doctor", "--json", "--url", "http://127.0.0.1:1/mcp"),
        workdir=tmp_path,
        settings=settings,
    )
    refused, _, errors = run("doctor", "--url", f"http://u:{SECRET}@h/mcp", workdir=tmp_path)

    assert (gone, refused) == (1, 2)
    assert told(output)["round trip"]["status"] == "fail"
    assert "must not hold a user or password" in errors
    assert SECRET not in errors
