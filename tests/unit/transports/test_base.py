from __future__ import annotations

import asyncio
import json
import textwrap

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.protocol import Connection, Context, Dispatcher
from kailash_mcp_prod.transports import BaseTransport
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost
from tests.unit.transports.conftest import META, rpc


async def test_the_documented_example_is_a_working_transport() -> None:
    documentation = textwrap.dedent((BaseTransport.__doc__ or "").partition("Example:")[2])
    source = documentation.split("```python\n")[1].split("```")[0]
    names = {
        "asyncio": asyncio,
        "BaseTransport": BaseTransport,
        "Connection": Connection,
        "Context": Context,
        "Credentials": Credentials,
    }
    exec(textwrap.dedent(source), names)

    async with names["TcpTransport"](Dispatcher(SampleHost()), KeyRing()) as transport:
        reader, writer = await asyncio.open_connection(*transport.server.sockets[0].getsockname())
        message = rpc("tools/call", name="add", arguments={"a": 1, "b": 2}, _meta=META)
        writer.write(json.dumps(message).encode() + b"\n")
        response = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        while (await reader.read()) != b"":
            pass

    wire_schema.check_response(wire_schema.MODERN, response, "tools/call")
    assert response["result"]["structuredContent"] == {"sum": 3}
