from __future__ import annotations

import socket

import pytest

from kailash_mcp_prod.auth.idp_client import IdpClient, IdpError


async def test_an_answer_that_does_not_come_in_time_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        client = IdpClient(f"http://127.0.0.1:{port}/keys", max_bytes=100, seconds=0.05)
        with pytest.raises(IdpError, match=r"no answer within 0\.05 s") as failed:
            await client.ask("GET", {})
        assert failed.value.status is None
        await client.close()


async def test_an_address_where_nobody_listens_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = IdpClient(f"http://127.0.0.1:{port}/keys", max_bytes=100)
    with pytest.raises(IdpError, match=r"^no connection \(ConnectError\)$"):
        await client.ask("GET", {})
    await client.close()
