from __future__ import annotations

from typing import Any

import httpx

from kailash_mcp_prod.transports.routing import TransportRouter


class App:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.kinds.append(scope["type"])
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


async def nothing(*_args: Any) -> None:
    raise AssertionError


async def test_each_kind_of_connection_goes_to_its_transport() -> None:
    websocket, http = App(), App()
    router = TransportRouter(websocket, http)
    await router({"type": "websocket"}, nothing, nothing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(router)) as web:  # type: ignore[arg-type]
        assert (await web.get("http://localhost/mcp")).status_code == 200

    assert (websocket.kinds, http.kinds) == (["websocket"], ["http"])


async def test_without_http_its_requests_are_told_where_to_go() -> None:
    websocket = App()
    router = TransportRouter(websocket)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(router)) as web:  # type: ignore[arg-type]
        response = await web.get("http://localhost/mcp")

    assert response.status_code == 404
    assert "/ws" in response.text
    assert websocket.kinds == []


async def test_other_kinds_are_left_alone() -> None:
    await TransportRouter(App())({"type": "lifespan"}, nothing, nothing)
