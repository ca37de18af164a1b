from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.unit.transports.conftest import BOTH, META, Web, modern_headers, rpc

CLOSED = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


async def send_into(web: Web, failure: RuntimeError, accept: str) -> None:
    """Call a tool whose answer cannot be sent."""
    call = json.dumps(rpc("tools/call", name="echo", _meta=META)).encode()
    headers = {
        **modern_headers("tools/call", "echo"),
        "host": "localhost",
        "content-type": "application/json",
        "accept": accept,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": call}

    async def send(_message: Any) -> None:
        raise failure

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await web.app(scope, receive, send)


@pytest.mark.parametrize("accept", [BOTH, "text/event-stream", "image/png"])
async def test_a_connection_that_is_gone_is_no_defect(
    web: Web, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await send_into(web, RuntimeError(CLOSED), accept)

    assert bool(web.host.calls) == (accept != "image/png")
    assert caplog.text == ""


async def test_another_failure_to_send_is_a_defect(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    await send_into(web, RuntimeError("Response content longer"), BOTH)

    assert "Response content longer" in caplog.text
