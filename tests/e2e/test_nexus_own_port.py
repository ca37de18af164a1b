"""Nexus's own MCP server, where kailash-mcp is installed: not opened by us, or loudly warned of."""

from __future__ import annotations

import json
import socket
import sysconfig
from pathlib import Path

import psutil
import pytest

from tests.e2e.servers import running
from tests.interop.peers import peer_python

PROGRAM = """
import asyncio, json, os
import psutil
from nexus import Nexus
from kailash_mcp_prod import ServerConfig, enhance_nexus_with_mcp
from kailash_mcp_prod.nexus.serving import NexusServing

api_port, mcp_port = (int(each) for each in os.environ["PORTS"].split())


def make():
    app = Nexus(auto_discovery=False, api_port=api_port, mcp_port=mcp_port)

    @app.handler("greet")
    async def greet(name: str) -> dict:
        return {"message": name}

    enhance_nexus_with_mcp(app)
    return app


app = make()


async def serve():
    serving = NexusServing(ServerConfig(nexus="program:app", port=0, auth_type="custom"))
    await serving.start()
    found = psutil.Process().net_connections("tcp")
    ports = [each.laddr for each in found if each.status == psutil.CONN_LISTEN]
    print(json.dumps([ports, serving.urls["Nexus"]]), flush=True)
    await serving.stop()


def main():
    asyncio.run(serve())
    make().start()
"""
# The environment of the agents has kailash-mcp; what it lacks of Nexus comes from ours.
START = "import sys; sys.path.append(sys.argv[1]); from program import main; main()"

pytestmark = pytest.mark.timeout(240)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def test_the_open_port_is_warned_of_and_serving_does_not_open_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    api, own = free_port(), free_port()
    program = [str(peer_python("agent")), "-c", START, sysconfig.get_path("purelib")]
    settings = {"PORTS": f"{api} {own}"}
    with running(tmp_path, settings=settings, program=program) as process:
        [[[host, port]], url] = json.loads(process.output.find(r"^\[.*")[0])
        assert url == f"http://{host}:{port}"
        assert port != own
        assert "own MCP server listens" not in process.errors.text

        warned = process.errors.find(r"WARNING.*own MCP server listens on 0\.0\.0\.0:(\d+)")
        assert int(warned[1]) == own
        process.errors.find("Uvicorn running on")
        found = psutil.Process(process.process.pid).net_connections("tcp")
        open_ports = {
            (each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN
        }
        assert open_ports == {("0.0.0.0", api), ("0.0.0.0", own)}
