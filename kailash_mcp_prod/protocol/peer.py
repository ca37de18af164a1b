"""The client behind one running request: told of progress, and asked for more.

The old era asks by requests of the server's own. The new one ends the request with what it needs
to know, and the client sends the request again with the answers (multi round-trip requests). A
handler sees no difference: in the new era it runs again from its beginning, and `ask` then returns
at once. So it should ask before it changes anything.

Source: the pages *Elicitation*, *Sampling*, *Progress* and *Logging* of MCP 2025-11-25, and
*Multi Round-Trip Requests* of 2026-07-28.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self

import msgspec

from kailash_mcp_prod.errors import Interruption
from kailash_mcp_prod.protocol.codec import encode_notification
from kailash_mcp_prod.protocol.deferral import Ask, Deferral
from kailash_mcp_prod.protocol.faults import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_CAPABILITY,
    RpcError,
)
from kailash_mcp_prod.protocol.revisions import TASKS_EXTENSION
from kailash_mcp_prod.protocol.server_requests import ServerRequests

LOG_LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)
"""The levels of RFC 5424, the least severe first."""

_CAPABILITY_OF: Final = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
_MAX_ASKED: Final = 16


class InputRequired(Interruption):
    """The client has to answer `asked`, by key, and send its request again."""

    def __init__(self, asked: Mapping[str, Ask]) -> None:
        super().__init__("input required")
        self.asked = dict(asked)


class MissingCapability(RpcError, Interruption):  # noqa: N818 - as its base
    """The client can't do what the call needs of it (-32021)."""

    def __init__(self, capability: str, required: Mapping[str, Any] | None = None) -> None:
        super().__init__(
            MISSING_CAPABILITY,
            f"This needs a client with the capability {capability!r}.",
            data={"requiredCapabilities": {capability: {}} if required is None else required},
        )


class MissingExtension(MissingCapability):
    """The client has not declared an extension of the protocol that the call needs."""

    def __init__(self, extension: str) -> None:
        super().__init__(extension, {"extensions": {extension: {}}})


class FailedAnswer(RpcError, Interruption):  # noqa: N818 - as its base
    """The client answered a request of the server with an error, or with something else."""


class Channel(msgspec.Struct, frozen=True):
    """The means by which a peer reaches its client; those that are missing are not there.

    Args:
        emit: Sends an encoded message that belongs to the request.
        requests: Asks the client, in the old era.
        answers: What the client has answered so far, by key, in the new one.
        capabilities: The MCP `ClientCapabilities` object.
        progress_token: How the client wants to recognise progress.
        log_level: From which level on it wants log messages.
        pause: Ends the stream that carries the answer; the client comes back for the rest.
        deferral: Lets the call become a task.
        transport: Which transport it is on.
    """

    emit: Callable[[bytes], Awaitable[None]] | None = None
    requests: ServerRequests | None = None
    answers: Mapping[str, Any] | None = None
    capabilities: Mapping[str, Any] | None = None
    progress_token: str | int | None = None
    log_level: str | None = None
    pause: Callable[[], Awaitable[None]] | None = None
    deferral: Deferral | None = None
    transport: str = ""


class Peer:
    """The client of one request, for the handler that answers it.

    Example:
        ```python
        await peer.progress(1, total=3, message="read")
        answer = await peer.ask({"sure": Ask("elicitation/create", {
            "message": "Delete it all?", "requestedSchema": {"type": "object", "properties": {}},
        })})
        if answer["sure"]["action"] == "accept":
            ...
        ```
    """

    def __init__(self, channel: Channel | None = None) -> None:
        self._channel = channel or Channel()
        self._progress = float("-inf")
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        # The request is answered: what is told from now on is not sent.
        self._closed = True

    @property
    def transport(self) -> str:
        """`stdio`, `http` or `websocket`; empty for others."""
        return self._channel.transport

    def can(self, capability: str) -> bool:
        """Whether the client has declared a capability, such as `elicitation`."""
        return capability in (self._channel.capabilities or {})

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell how far the request is, if the client wants to know; figures have to grow."""
        if self._deferred is not None:
            self._deferred.report(message)
            return
        token, emit = self._channel.progress_token, self._channel.emit
        if token is None or emit is None or self._closed or progress <= self._progress:
            return
        self._progress = progress
        params: dict[str, Any] = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        await emit(encode_notification("notifications/progress", params))

    async def log(self, level: str, data: Any, logger: str | None = None) -> None:
        """Send a log message, if the client wants those of its level (one of `LOG_LEVELS`)."""
        wanted, emit = self._channel.log_level, self._channel.emit
        if wanted is None or emit is None or self._closed or self._deferred is not None:
            return
        if LOG_LEVELS.index(level) < LOG_LEVELS.index(wanted):
            return
        params = {"level": level, "data": data}
        if logger is not None:
            params["logger"] = logger
        await emit(encode_notification("notifications/message", params))

    async def ask(self, asked: Mapping[str, Ask]) -> dict[str, Any]:
        """The client's results by the keys of the requests.

        Raises:
            MissingCapability: The client can't answer such a request.
            FailedAnswer: It answered with an error.
            InputRequired: New era: the client is to answer first. Let it pass.
        """
        if len(asked) > _MAX_ASKED:
            raise ValueError(f"A call may ask {_MAX_ASKED} things at once, not {len(asked)}.")
        answers = self._channel.answers
        missing = {key: each for key, each in asked.items() if key not in (answers or {})}
        for each in missing.values():
            capability = _CAPABILITY_OF[each.method]
            if not self.can(capability):
                raise MissingCapability(capability)
        if answers is not None:
            if missing and self._deferred is not None:
                answers = {**answers, **await self._deferred.ask(missing)}
            elif missing:
                raise InputRequired(missing)
            return {key: _object(answers[key], key) for key in asked}
        requests, emit = self._channel.requests, self._channel.emit
        if requests is None or emit is None:
            raise MissingCapability(_CAPABILITY_OF[next(iter(asked.values())).method])
        results = await asyncio.gather(
            *(requests.send(emit, each.method, each.params) for each in asked.values())
        )
        return dict(zip(asked, map(_result, results), strict=True))

    async def elicit(self, message: str, schema: Mapping[str, Any], key: str = "input") -> Any:
        """Ask the user to fill a form; the MCP `ElicitResult` object.

        Args:
            message: What the user reads.
            schema: A flat JSON Schema of the form.
            key: Tells this question from others of the same call.

        Raises:
            Interruption: As `ask`.
        """
        params = {"message": message, "requestedSchema": dict(schema)}
        return (await self.ask({key: Ask("elicitation/create", params)}))[key]

    async def defer(self, *, required: bool = False) -> None:
        """Say that the call will take long: it becomes a task, if the client takes tasks.

        A call that asks its client before that does so in the request itself.

        Args:
            required: Whether it can't be done otherwise.

        Raises:
            MissingExtension: It is required, and the client takes none.
        """
        deferral = self._channel.deferral
        if deferral is not None:
            deferral.wanted.set()
            await deferral.settled.wait()
        elif required:
            raise MissingExtension(TASKS_EXTENSION)

    @property
    def _deferred(self) -> Deferral | None:
        deferral = self._channel.deferral
        return deferral if deferral is not None and deferral.adopted else None

    async def pause_stream(self) -> None:
        """Let go of the connection that waits for the answer, where the client can come back."""
        if self._channel.pause is not None and not self._closed:
            await self._channel.pause()


SILENT = Peer()
"""Nobody to tell, and nobody to ask."""


def _result(answer: Any) -> Any:
    if answer is None:
        raise FailedAnswer(INTERNAL_ERROR, "The client could not answer the server's request.")
    return answer


def _object(answer: Any, key: str) -> Any:
    if not isinstance(answer, dict):
        raise FailedAnswer(INVALID_PARAMS, f"params.inputResponses.{key} must be an object.")
    return answer
