"""The resources that the suite wants to read and to watch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.protocol import Audience, Peer
from tests.conformance.content import PNG
from tests.conformance.listeners import Listeners

_PLAIN = "text/plain"
_OF_TEMPLATE = re.compile(r"test://template/([^/]+)/data")
_CONTENTS: dict[str, dict[str, Any]] = {
    "test://static-text": {
        "mimeType": _PLAIN,
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
    "test://watched-resource": {"mimeType": _PLAIN, "text": "Watch me."},
}


class Resources:
    """A `ResourceHost`."""

    def __init__(self) -> None:
        self._listed = Listeners()
        self._updated = Listeners()

    def update(self) -> None:
        """Tell that the watched resource has changed."""
        self._updated.tell(["test://watched-resource"], lambda _principal: True)

    async def resources(self, principal: Principal) -> Sequence[dict[str, Any]]:
        return [
            {
                "uri": uri,
                "name": uri.removeprefix("test://"),
                "description": f"The resource {uri}.",
                "mimeType": contents["mimeType"],
            }
            for uri, contents in _CONTENTS.items()
        ]

    async def templates(self, principal: Principal) -> Sequence[dict[str, Any]]:
        return [
            {
                "uriTemplate": "test://template/{id}/data",
                "name": "data",
                "description": "The data of an id.",
                "mimeType": "application/json",
            }
        ]

    async def read_resource(
        self, principal: Principal, uri: str, *, request_id: str, peer: Peer
    ) -> Sequence[dict[str, Any]]:
        if uri in _CONTENTS:
            return [{"uri": uri, **_CONTENTS[uri]}]
        if match := _OF_TEMPLATE.fullmatch(uri):
            data = {"id": match[1], "templateTest": True, "data": f"Data for ID: {match[1]}"}
            return [{"uri": uri, "mimeType": "application/json", "text": json.dumps(data)}]
        raise NotFoundError("There is no such resource.")

    def on_resources_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._listed.add(listener)

    def on_resources_updated(
        self, listener: Callable[[Sequence[str], Audience], None]
    ) -> Callable[[], None]:
        return self._updated.add(listener)
