"""The example Nexus app, served by our command and by its own, driven by clients of all kinds."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import psutil
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from kailash_mcp_prod import NexusAuth
from tests.agent_jobs import run_jobs, settings_for
from tests.e2e.exchanges import LegacyHttp
from tests.e2e.servers import REPLY_SECONDS, ROOT, ServerProcess, environment, forked
from tests.e2e.snippets import only, run_in, snippets
from tests.model_server import Message, call, results_in, running_model, user_of

SECRET = "a-secret-for-the-tests-of-nexus-apps-1234"
FLAGS = ("--mode", "nexus-integration", "--port", "0")
EXAMPLE = ("--nexus", "examples.nexus_app:app")
LIMIT_SECONDS = 2.0
GREET = ("execute_nexus_workflow", {"name": "greet", "inputs": {"name": "Ada"}})
RAN = '"tool":"execute_nexus_workflow","outcome":"ok"'
PAGE = ROOT / "docs" / "nexus.md"

pytestmark = pytest.mark.timeout(240)


def bearer(subject: str, **claims: Any) -> dict[str, str]:
    # Made while tests are collected, and needed until all of them have run.
    claims = {"sub": subject, "exp": int(time.time()) + 86_400, **claims}
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


CLERK = bearer("carla", roles=["clerk"])
BUYER = bearer("bert", permissions=["nexus:discount", "Order:read"])


def page_app() -> str:
    return only(snippets(PAGE, "python"), "from nexus import Nexus")


@contextmanager
def example(workdir: Path) -> Iterator[tuple[ServerProcess, str]]:
    settings = {"NEXUS_JWT_SECRET": SECRET, "DATABASE_URL": f"sqlite:///{workdir}/app.db"}
    with forked(workdir, *FLAGS, *EXAMPLE, settings=settings) as process:
        yield process, process.errors.find(r"^MCP +(http://\S+/api/mcp)$")[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    with example(tmp_path_factory.mktemp("nexus")) as found:
        yield found


@pytest.fixture(scope="module")
def url(served: tuple[ServerProcess, str]) -> str:
    return served[1]


async def over_sdk(
    url: str, who: dict[str, str], *calls: tuple[str, dict[str, Any]]
) -> tuple[list[str], list[dict[str, Any]]]:
    async with (
        httpx.AsyncClient(headers=who, timeout=30) as http,
        streamable_http_client(url, http_client=http) as (read, write, *_),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        listed = await session.list_tools()
        found = [await session.call_tool(*each) for each in calls]
    # By the names of the protocol: those of the SDK differ from release to release.
    return [tool.name for tool in listed.tools], [each.model_dump(by_alias=True) for each in found]


async def test_the_official_client_gets_what_each_user_may(url: str) -> None:
    order = ("Order_create", {"data": {"id": "1", "customer": "Ada", "amount": 9.5}})
    total = ("execute_nexus_workflow", {"name": "total", "inputs": {"amounts": [1, 2]}})
    discount = ("nexus_discount", {"amounts": [100], "percent": 20})

    names, clerk = await over_sdk(url, CLERK, order, GREET, total)
    others, buyer = await over_sdk(url, BUYER, discount, GREET, ("Order_read", {"id": "1"}))

    assert "Order_create" in names
    assert "nexus_discount" not in names
    assert clerk[0]["structuredContent"]["customer"] == "Ada"
    assert clerk[1]["structuredContent"]["results"] == {"handler": {"message": "Hello, Ada!"}}
    assert clerk[2]["structuredContent"]["results"] == {"sum": {"result": 3}}
    assert "Order_create" not in others
    assert "nexus_discount" in others
    results = buyer[0]["structuredContent"]["results"]
    assert results == {"handler": {"total": 100.0, "to_pay": 80.0}}
    assert buyer[1]["structuredContent"]["error"]["code"] == "not_found"
    assert buyer[2]["structuredContent"]["amount"] == 9.5


async def test_websockets_are_known_by_the_apps_tokens(url: str) -> None:
    address = f"{url.replace('http', 'ws', 1)}/ws"
    mcp = [Subprotocol("mcp")]
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    async with connect(address, subprotocols=mcp, additional_headers=CLERK) as channel:
        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        await channel.send(json.dumps(hello))
        assert "serverInfo" in json.loads(await channel.recv())["result"]
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, subprotocols=mcp)
    assert refused.value.response.status_code == 401


def test_curl_runs_a_workflow(url: str, tmp_path: Path) -> None:
    assert shutil.which("curl")
    body = json.dumps({"tool_name": GREET[0], "arguments": GREET[1]})
    command = (
        f"curl -s {url}/execute-tool -H 'Content-Type: application/json' "
        f"-H 'Authorization: {CLERK['Authorization']}' -d '{body}'"
    )

    assert json.loads(run_in(tmp_path, command))["results"] == {
        "handler": {"message": "Hello, Ada!"}
    }


def test_one_port_is_open_and_the_rest_of_the_app_is_there(
    served: tuple[ServerProcess, str],
) -> None:
    process, url = served
    base = url.removesuffix("/api/mcp")
    listening = [
        each
        for each in psutil.Process(process.process.pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]

    assert [each.laddr.port for each in listening] == [int(base.rpartition(":")[2])]
    assert httpx.get(f"{base}/health").is_success
    assert httpx.get(f"{base}/workflows").status_code == 401
    assert httpx.get(f"{base}/workflows", headers=CLERK).is_success


def a_model(body: dict[str, Any]) -> Message:
    """Runs the workflow that it is told of, and says what it has read."""
    results = results_in(body)
    if not results:
        name = user_of(body).rpartition(" ")[2]
        arguments = {"name": "greet", "inputs": {"name": name}}
        return {"tool_calls": [call("execute_nexus_workflow", arguments)]}
    return {"content": results[0]}


def test_agent_nodes_run_a_workflow(served: tuple[ServerProcess, str], tmp_path: Path) -> None:
    process, url = served
    before = process.errors.text.count(RAN)
    token = CLERK["Authorization"].removeprefix("Bearer ")
    entry = {
        "name": "kailash",
        "transport": "http",
        "url": url,
        "auth": {"type": "bearer", "token": token},
    }
    tools: dict[str, Any] = {"generation_config": {"tool_choice": "auto"}}
    with running_model(a_model) as model:
        stock = settings_for(
            model,
            "Greet Stock",
            mcp_servers=[entry],
            auto_discover_tools=True,
            auto_execute_tools=True,
            **tools,
        )
        ours = settings_for(model, "Greet Ours", mcp_servers=[entry], tools_to_use=["*_nexus_*"])
        jobs = {
            "stock": {"node": "LLMAgentNode", "settings": stock},
            "ours": {"node": "MCPLLMAgentNode", "settings": ours, "runtime": "local"},
        }
        reports, _ = run_jobs(jobs, tmp_path)

    assert reports["stock"]["context"]["tools_executed"] == 1
    assert "Hello, Ours!" in reports["ours"]["response"]["content"]
    # The stock node drops what the workflow gave it, so the server says that both ran.
    while process.errors.text.count(RAN) < before + 2:
        process.errors.next(REPLY_SECONDS)


def assert_ends_with_an_open_stream(
    process: Any,
    url: str,
    number: signal.Signals,
    who: dict[str, str],
    code: int,
    *,
    seconds: float = LIMIT_SECONDS,
) -> None:
    with LegacyHttp(url, who) as client, client.events():
        process.send_signal(number)
        assert process.wait(seconds) == code


def test_it_stops_in_time_with_an_open_stream(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    with ExitStack() as stack:
        found = []
        for each in numbers:
            workdir = tmp_path / each.name
            workdir.mkdir()
            found.append(stack.enter_context(example(workdir)))
        for number, (process, url) in zip(numbers, found, strict=True):
            assert_ends_with_an_open_stream(process.process, url, number, CLERK, 0)
            assert "Traceback" not in process.errors.finish()


PROGRAM = """
import sys
from nexus import Nexus
from kailash_mcp_prod import enhance_nexus_with_mcp

app = Nexus(auto_discovery=False, api_port=int(sys.argv[1]), mcp_port=int(sys.argv[2]))

@app.handler("greet")
async def greet(name: str) -> dict:
    return {"message": name}

enhance_nexus_with_mcp(app)
app.start()
"""


def test_an_app_that_serves_itself_stops_in_time_too(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    codes = {signal.SIGINT: 0, signal.SIGTERM: -signal.SIGTERM}
    with ExitStack() as stack:
        started = []
        for number in codes:
            workdir = tmp_path / number.name
            workdir.mkdir()
            ports = [str(each) for each in free_ports(2)]
            process = subprocess.Popen(
                [sys.executable, program, *ports],
                cwd=workdir,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            started.append((process, f"http://127.0.0.1:{ports[0]}/api/mcp"))
        for (number, code), (process, url) in zip(codes.items(), started, strict=True):
            wait_for(f"{url}/status", process)
            # What Nexus does to end itself takes about a second by itself, and more on a machine
            # that runs other tests.
            assert_ends_with_an_open_stream(
                process, url, number, {}, code, seconds=2 * LIMIT_SECONDS
            )


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 45
    while True:
        try:
            assert httpx.get(url).is_success
            return
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        (("--nexus", "nowhere:app"), 2, "There is no module 'nowhere'"),
        (("--nexus", "page:nothing"), 2, "--nexus"),
        (("--nexus", "page:app", "--host", "0.0.0.0"), 2, "asks for no credentials"),
        (("--nexus", "page:app", "--transport", "stdio"), 2, "stdio"),
    ],
)
def test_what_can_not_be_served_is_said(
    tmp_path: Path, flags: Sequence[str], code: int, reason: str
) -> None:
    (tmp_path / "page.py").write_text(page_app())
    with forked(tmp_path, *FLAGS, *flags) as process:
        assert process.process.wait(45) == code
        assert reason in process.errors.finish()


def test_the_page_is_right(tmp_path: Path) -> None:
    [serve, curl] = snippets(PAGE, "sh")
    (tmp_path / "app.py").write_text(page_app())
    flags = serve.split()[2:]
    assert flags[:4] == ["--mode", "nexus-integration", "--nexus", "app:app"]
    with forked(tmp_path, *flags[:-1], "0") as process:
        url = process.errors.find(r"^MCP +(http://\S+)/api/mcp$")[1]
        answer = json.loads(run_in(tmp_path, curl.replace("http://127.0.0.1:8000", url)))

    assert answer["results"] == {"handler": {"message": "Hello, Ada!"}}


def test_the_rules_of_the_page_are_rules() -> None:
    code = only(snippets(PAGE, "python"), "NexusAuth(")
    assert isinstance(eval(code, {"NexusAuth": NexusAuth}), NexusAuth)
