"""Resources: the models, their records and the server's health, read by calling tools.

What a principal may not read is as absent as what does not exist: it is in no list, and reading
either costs one call and fails with the same words.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.catalogue import Catalogue, UsableModels
from kailash_mcp_prod.content.documents import MIME_TYPE, contents, model_document, overview
from kailash_mcp_prod.content.families import ResourceFamily
from kailash_mcp_prod.content.updates import Audience, updated_uris
from kailash_mcp_prod.content.uris import (
    HEALTH,
    MODEL_TEMPLATE,
    MODELS,
    RECORD_TEMPLATE,
    Address,
    canonical,
    model_uri,
    parse,
)
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.types import Kind
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO
from kailash_mcp_prod.tools.peer import NOBODY, Peer
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import Handler, Hints, ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.names import FULL

HEALTH_PERMISSION: Final = "monitor:read"

_WHOLE_NUMBER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_FOR_AGENTS: Final = ["assistant"]
_FOR_ALL: Final = ["user", "assistant"]


class DataResources:
    """The resources of an application; a `protocol.ResourceHost`.

    Args:
        service: The tools: each reading is a call of one.
        catalogue: What a principal may use of the models.
        health: The state of the server and of its database, fit for a caller's eyes.
        families: Further resources.

    Example:
        ```python
        [company] = await resources.read_resource(
            principal, "dataflow://models/Company/c1", request_id="r1"
        )
        ```
    """

    def __init__(
        self,
        service: ToolService,
        catalogue: Catalogue,
        health: Callable[[], Awaitable[dict[str, Any]]],
        families: Iterable[ResourceFamily] = (),
    ) -> None:
        self._service = service
        self._families = tuple(families)
        self._catalogue = catalogue
        self._health = _health_tool(health)

    async def resources(self, principal: Principal) -> list[dict[str, Any]]:
        """MCP `Resource` objects: the models, each of them, and the health."""
        await self._service.ready()
        listed = []
        if self._catalogue.describes(principal):
            listed.append(_MODELS)
            for name, usable in self._catalogue.usable(principal).items():
                listed.append(_model_resource(name, usable.model.description))
        if self._service.allows(principal, self._health):
            listed.append(_HEALTH)
        return listed

    async def templates(self, principal: Principal) -> list[dict[str, Any]]:
        """MCP `ResourceTemplate` objects: of models and of records."""
        await self._service.ready()
        usable = self._catalogue.usable(principal)
        listed = []
        if usable and self._catalogue.describes(principal):
            listed.append(_MODEL_TEMPLATE)
        if any(each.tool(Operation.READ) for each in usable.values()):
            listed.append(_RECORD_TEMPLATE)
        for family in self._families:
            tool = self._service.registry.get(family.tool)
            if tool is not None and self._service.allows(principal, tool):
                listed.append(dict(family.template))
        return listed

    async def read_resource(
        self, principal: Principal, uri: str, *, request_id: str, peer: Peer = NOBODY
    ) -> list[dict[str, Any]]:
        """MCP `ResourceContents` of a resource, in JSON.

        Raises:
            NotFoundError: There is none of this URI that the principal may read.
            InvalidArgumentsError: It is too large for a resource.
            ServerError: As from the tool that reads it, such as `RateLimitedError`.
        """
        await self._service.ready()
        read = _Reading(self._service, principal, request_id, peer)
        usable = self._catalogue.usable(principal)
        address = parse(uri)
        try:
            if uri == HEALTH and self._service.allows(principal, self._health):
                document, instead = await read.run(self._health), ""
            elif uri == MODELS:
                info = await read.call(MODELS_INFO, {})
                document, instead = overview(info, usable), _ASK_FOR_ONE
            elif address is None:
                document, instead = await self._further(read, uri), ""
            elif address.record is None:
                document, instead = await self._model(read, usable, address.model), _ASK_FOR_ONE
            else:
                document, instead = await self._record(read, usable, address)
        except (NotFoundError, InvalidArgumentsError):
            raise absent(uri) from None
        return [contents(uri, document, instead=instead)]

    def on_resources_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener whenever the list may have changed; what it returns ends that."""
        return self._service.on_tools_changed(listener)

    def on_resources_updated(
        self, listener: Callable[[Sequence[str], Audience], None]
    ) -> Callable[[], None]:
        """Calls the listener with the URIs that were changed, and who may hear of it.

        Of records, what other processes write is not seen. What it returns ends that.
        """

        def tell(tool: ToolSpec, principal: Principal, result: dict[str, Any]) -> None:
            model = self._catalogue.model(tool.group)
            if model is not None and (uris := updated_uris(tool, result)):
                may_hear = self._service.visibility.may_hear
                listener(uris, lambda hearer: may_hear(hearer, principal, model))

        ends = [
            self._service.on_called(tell),
            *(family.on_updated(listener) for family in self._families),
        ]

        def end() -> None:
            for each in ends:
                each()

        return end

    async def _further(self, read: _Reading, uri: str) -> dict[str, Any]:
        """What a further resource holds."""
        for family in self._families:
            arguments = family.arguments_of(uri)
            if arguments is not None:
                return await read.call(family.tool, arguments)
        return await read.run(_ABSENT)

    async def _model(self, read: _Reading, usable: UsableModels, name: str) -> dict[str, Any]:
        info = await read.call(MODELS_INFO, {"model": name})
        if name not in usable:
            raise NotFoundError("The model is gone.")
        return model_document(info["models"][0], usable[name])

    async def _record(
        self, read: _Reading, usable: UsableModels, address: Address
    ) -> tuple[dict[str, Any], str]:
        found = usable.get(address.model)
        tool = found.tool(Operation.READ) if found is not None else None
        if found is None or tool is None:
            return await read.run(_ABSENT), ""
        key = _key(found.model.key.type.kind, address.record or "")
        record = await read.call(tool, {"id": key})
        if record.get("id", key) != key:
            # A key in another spelling: nobody would be told of changes by this URI.
            raise NotFoundError("The key is spelled otherwise.")
        return record, f"Call {tool} with `fields` for a part of it."


class _Reading:
    """Calls of tools for one reading."""

    def __init__(
        self, service: ToolService, principal: Principal, request_id: str, peer: Peer
    ) -> None:
        self._service = service
        self._principal = principal
        self._request_id = request_id
        self._peer = peer

    async def call(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._service.call(
            self._principal,
            tool,
            arguments,
            request_id=self._request_id,
            surface=FULL,
            peer=self._peer,
        )

    async def run(self, tool: ToolSpec) -> dict[str, Any]:
        return await self._service.run(
            self._principal, tool, request_id=self._request_id, peer=self._peer
        )


def absent(uri: str) -> NotFoundError:
    """The error of a resource that is not there, or not for this principal; of the URI alone."""
    right = canonical(uri)
    hint = f" Written as resources are, it is {shown(right)}." if right not in {None, uri} else ""
    return NotFoundError(
        f"There is no resource '{shown(uri)}' that you may read.{hint} {MODELS} names what there "
        "is.",
        field="uri",
    )


def _key(kind: Kind, text: str) -> str | int:
    if kind is not Kind.INTEGER:
        return text
    if not _WHOLE_NUMBER.fullmatch(text):
        # The tool says of it what it says of every key that does not fit.
        return text
    return int(text)


def _health_tool(health: Callable[[], Awaitable[dict[str, Any]]]) -> ToolSpec:
    async def handle(_call: ToolCall) -> dict[str, Any]:
        return await health()

    return _reader("server_health", "Reads server://health.", handle, HEALTH_PERMISSION)


def _reader(name: str, description: str, handler: Handler, *permissions: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        title=description,
        description=description,
        input_schema={"type": "object", "additionalProperties": False},
        output_schema={"type": "object"},
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=permissions,
        group="monitor",
        handler=handler,
    )


async def _refuse(_call: ToolCall) -> dict[str, Any]:
    raise NotFoundError("There is no such resource.")


# So that a guess costs what a reading costs, and is counted like one.
_ABSENT: Final = _reader("absent_resource", "Reads what is not there.", _refuse)


def _annotations(audience: list[str], priority: float) -> dict[str, Any]:
    return {"audience": audience, "priority": priority}


def _model_resource(name: str, description: str) -> dict[str, Any]:
    return {
        "uri": model_uri(name),
        "name": name,
        "title": f"Model {name}",
        "description": f"{description} Its fields, schemas, keys and tools.".strip(),
        "mimeType": MIME_TYPE,
        "annotations": _annotations(_FOR_AGENTS, 0.7),
    }


_ASK_FOR_ONE: Final = f"Call {MODELS_INFO} with `model`."
_MODELS: Final = {
    "uri": MODELS,
    "name": "models",
    "title": "Models",
    "description": "The models that you may use: what they are for, their tools and their keys.",
    "mimeType": MIME_TYPE,
    "annotations": _annotations(_FOR_AGENTS, 1.0),
}
_HEALTH: Final = {
    "uri": HEALTH,
    "name": "health",
    "title": "Health",
    "description": "Whether the server and its database are well, as seen within the last second.",
    "mimeType": MIME_TYPE,
    "annotations": _annotations(_FOR_ALL, 0.3),
}
_MODEL_TEMPLATE: Final = {
    "uriTemplate": MODEL_TEMPLATE,
    "name": "model",
    "title": "A model",
    "description": "The fields, schemas, keys and tools of a model, by its name.",
    "mimeType": MIME_TYPE,
    "annotations": _annotations(_FOR_AGENTS, 0.7),
}
_RECORD_TEMPLATE: Final = {
    "uriTemplate": RECORD_TEMPLATE,
    "name": "record",
    "title": "A record",
    "description": "A record as it is now, by its model and its id.",
    "mimeType": MIME_TYPE,
    "annotations": _annotations(_FOR_ALL, 0.5),
}
