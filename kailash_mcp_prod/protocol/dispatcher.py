"""Takes decoded messages of either era to their methods, and errors back to the wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from kailash_mcp_prod.errors import InternalError, ServerError
from kailash_mcp_prod.protocol.batches import BatchBudget
from kailash_mcp_prod.protocol.changes import Changes
from kailash_mcp_prod.protocol.codec import (
    InvalidMessageError,
    decode,
    encode_error,
    encode_result,
    is_request_id,
    join_batch,
)
from kailash_mcp_prod.protocol.connection import Connection
from kailash_mcp_prod.protocol.eras import EraRules, LegacyRules, ModernRules, declares_version
from kailash_mcp_prod.protocol.faults import INVALID_REQUEST, RpcError, from_server_error
from kailash_mcp_prod.protocol.host import CompletionHost, PromptHost, ResourceHost, ToolHost
from kailash_mcp_prod.protocol.lifecycle import LifecycleMethods, ServerInfo
from kailash_mcp_prod.protocol.logging_methods import LOGGING_METHODS
from kailash_mcp_prod.protocol.messages import (
    Batch,
    ClientResponse,
    Invalid,
    Message,
    Notification,
    Reply,
    Request,
)
from kailash_mcp_prod.protocol.methods import Call, Context, Method, MethodTable, new_request_id
from kailash_mcp_prod.protocol.observing import RequestObserver, RequestTracer
from kailash_mcp_prod.protocol.peer import InputRequired
from kailash_mcp_prod.protocol.peers import Peers
from kailash_mcp_prod.protocol.prepared import PreparedRequests, Preparing
from kailash_mcp_prod.protocol.prompt_methods import CompletionMethods, PromptMethods
from kailash_mcp_prod.protocol.resource_methods import ResourceMethods
from kailash_mcp_prod.protocol.revisions import BATCH_REVISION, MODERN_REVISIONS, Era
from kailash_mcp_prod.protocol.rounds import Rounds
from kailash_mcp_prod.protocol.sealing import Seal
from kailash_mcp_prod.protocol.subscriptions import News, SubscriptionMethods
from kailash_mcp_prod.protocol.task_methods import TaskMethods
from kailash_mcp_prod.protocol.tasks import TaskStore
from kailash_mcp_prod.protocol.tool_methods import ToolMethods
from kailash_mcp_prod.protocol.updates import ResourceUpdates

_log = logging.getLogger(__name__)

NotificationHandler = Callable[[Notification, Connection], None]


class Dispatcher:
    """The protocol over the hosts of tools, resources, prompts; all transports share it.

    Args:
        host: The tools.
        resources: The resources, if there are any.
        prompts: The prompts, if there are any.
        completion: What completes arguments, if anything does.
        instructions: How an agent should use the server; sent by `initialize` and `discover`.
        info: The server's name, title and version.
        seal: Signs the state of requests in several rounds; replicas share its secret.
        extra_methods: Further entries for the method table.
        observer: Is told of every request.
        tracer: Stands around every request.
        slot: The place of this process among the workers of its machine.
        preparing: Prepares calls that may come again, which pass neither `handle` nor the host.
            Without effect with a tracer.

    Example:
        ```python
        dispatcher = Dispatcher(host, instructions="Ask for what you need.")
        reply = await dispatcher.receive(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', context)
        ```
    """

    def __init__(
        self,
        host: ToolHost,
        *,
        resources: ResourceHost | None = None,
        prompts: PromptHost | None = None,
        completion: CompletionHost | None = None,
        instructions: str | None = None,
        info: ServerInfo | None = None,
        seal: Seal | None = None,
        extra_methods: Iterable[Method] = (),
        observer: RequestObserver | None = None,
        tracer: RequestTracer | None = None,
        slot: int = 0,
        preparing: Preparing | None = None,
    ) -> None:
        info = info or ServerInfo()
        self.host = host
        self._observer = observer
        self._tracer = tracer
        self._rounds = Rounds(seal or Seal())
        peers = Peers(self._rounds)
        capabilities: dict[str, Any] = {"tools": {"listChanged": True}, "logging": {}}
        self._tasks = TaskStore(slot=slot)
        tasks = TaskMethods(self._tasks, peers)
        methods = [*ToolMethods(host, tasks).methods(), *tasks.methods(), *LOGGING_METHODS]
        lists = {"toolsListChanged": Changes(host.on_tools_changed)}
        news = News(lists)
        if prompts is not None:
            capabilities["prompts"] = {"listChanged": True}
            methods += PromptMethods(prompts, peers).methods()
            lists["promptsListChanged"] = Changes(prompts.on_prompts_changed)
        if resources is not None:
            capabilities["resources"] = {"listChanged": True, "subscribe": True}
            lists["resourcesListChanged"] = Changes(resources.on_resources_changed)
            updates = ResourceUpdates(resources)
            readable = ResourceMethods(resources, peers, updates)
            methods += readable.methods()
            news = News(lists, updates, readable.may_read)
        if completion is not None:
            capabilities["completions"] = {}
            methods += CompletionMethods(completion).methods()
        self._news = news
        self._table = MethodTable(
            [
                *LifecycleMethods(info, capabilities, instructions).methods(),
                *methods,
                *SubscriptionMethods(news).methods(),
                *extra_methods,
            ]
        )
        modern = ModernRules(self._table, info)
        self._rules: dict[Era, EraRules] = {
            Era.LEGACY: LegacyRules(self._table),
            Era.MODERN: modern,
        }
        self.prepared = None
        if preparing is not None and tracer is None:
            self.prepared = PreparedRequests(preparing, modern, observer, self._internal_error)
        self._notifications: dict[str, NotificationHandler] = {
            "notifications/initialized": self._on_initialized,
            "notifications/cancelled": self._on_cancelled,
        }

    def era_of(
        self, message: Request | Notification, *, version: str | None, channel_open: bool
    ) -> Era:
        """Which era a message belongs to.

        Args:
            message: The message.
            version: The `MCP-Protocol-Version` header, where there is one.
            channel_open: Whether it arrives on a channel that a legacy handshake opened.
        """
        if declares_version(message.params.get("_meta")):
            return Era.MODERN
        if message.method == "initialize":
            return Era.LEGACY
        if version is not None:
            return Era.MODERN if version in MODERN_REVISIONS else Era.LEGACY
        method = self._table.find(message.method)
        modern_only = method is not None and Era.LEGACY not in method.eras
        return Era.MODERN if modern_only and not channel_open else Era.LEGACY

    def methods(self) -> frozenset[str]:
        """The names of all methods."""
        return self._table.names()

    def close(self) -> None:
        """End what still runs without a request, because the server stops."""
        self._tasks.cancel_all()

    def streams(self, request: Request) -> bool:
        """Whether the method answers with a stream of notifications."""
        method = self._table.find(request.method)
        return method is not None and method.streams

    async def receive(self, body: bytes, context: Context) -> Reply | None:
        """Decode one JSON-RPC text and handle its message."""
        try:
            message = decode(body)
        except InvalidMessageError as error:
            return encode_error(error.id, error.of_request(context.request_id))
        return await self.handle(message, context)

    async def handle(self, message: Message, context: Context) -> Reply | None:
        """Answer a message; `None` when no response is due or its request was cancelled.

        Never raises but `CancelledError`: every failure is a reply.
        """
        match message:
            case Request():
                return await self._answer(message, context)
            case Batch():
                return await self._answer_batch(message, context)
            case Notification():
                self._notify(message, context)
                return None
            case ClientResponse():
                if context.connection is not None:
                    context.connection.requests.resolve(message)
                return None

    async def _answer_batch(self, batch: Batch, context: Context) -> Reply | None:
        connection = context.connection
        if connection is None or connection.version != BATCH_REVISION:
            refusal = f"Only protocol version {BATCH_REVISION} has batches; send one message."
            fault = RpcError(INVALID_REQUEST, refusal)
            return encode_error(None, fault.of_request(context.request_id))
        budget = BatchBudget()
        replies = await asyncio.gather(
            *(self._batch_item(item, context, budget) for item in batch.items)
        )
        return join_batch(reply for reply in replies if reply is not None)

    async def _batch_item(
        self,
        item: Request | Notification | ClientResponse | Invalid,
        context: Context,
        budget: BatchBudget,
    ) -> Reply | None:
        async with budget.places_for(item):
            reply = await self._batched(item, context)
        if reply is None or not isinstance(item, Request) or budget.covers(reply):
            return reply
        return encode_error(item.id, from_server_error(budget.exceeded(), context.request_id))

    async def _batched(
        self, item: Request | Notification | ClientResponse | Invalid, context: Context
    ) -> Reply | None:
        if isinstance(item, Invalid):
            return encode_error(item.id, item.error.of_request(new_request_id()))
        return await self.handle(
            item, msgspec.structs.replace(context, request_id=new_request_id())
        )

    async def _answer(self, request: Request, context: Context) -> Reply | None:
        if self._tracer is not None:
            return await self._tracer.around(request, context, self._observed)
        return await self._observed(request, context)

    async def _observed(self, request: Request, context: Context) -> Reply | None:
        if self._observer is None:
            return await self._attempt(request, context)
        began, reply = time.perf_counter(), None
        try:
            reply = await self._attempt(request, context)
        finally:
            self._observer.answered(request, context, time.perf_counter() - began, reply)
        return reply

    async def _attempt(self, request: Request, context: Context) -> Reply | None:
        try:
            return await self._run(request, context)
        except RpcError as error:
            return encode_error(request.id, error.of_request(context.request_id))
        except ServerError as error:
            return encode_error(request.id, from_server_error(error, context.request_id))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled this task: a part of the host lost one of its own.
            return self._internal_error(request, context)
        except Exception:  # noqa: BLE001 - the boundary: a defect must not end the channel
            return self._internal_error(request, context)

    async def _run(self, request: Request, context: Context) -> Reply | None:
        connection = context.connection
        era = self.era_of(
            request,
            version=context.headers.version if context.headers else None,
            channel_open=connection is not None and connection.version is not None,
        )
        rules = self._rules[era]
        method = rules.admit(request, context)
        call = Call(request, context, era)
        if connection is None:
            result = await self._result(method, call)
            return encode_result(request.id, rules.finish(method, call, result))
        with connection.in_flight.track(request.id, cancellable=method.cancellable) as scope:
            result = await self._result(method, call)
        if scope.cancelled:
            return None
        return encode_result(request.id, rules.finish(method, call, result))

    async def _result(self, method: Method, call: Call) -> dict[str, Any]:
        try:
            return await method.run(call)
        except InputRequired as required:
            if not method.rounds:
                raise
            return self._rounds.next_round(call, required)

    def _internal_error(self, request: Request, context: Context) -> Reply:
        _log.exception(
            "Request %s (%s) failed",
            context.request_id,
            request.method,
            extra={"request_id": context.request_id},
        )
        error = InternalError("Internal error; the server's log has it under the request id.")
        return encode_error(request.id, from_server_error(error, context.request_id))

    def _notify(self, notification: Notification, context: Context) -> None:
        handler = self._notifications.get(notification.method)
        if handler is not None and context.connection is not None:
            handler(notification, context.connection)

    def _on_initialized(self, _notification: Notification, connection: Connection) -> None:
        if connection.version is None or connection.initialized:
            return
        connection.initialized = True
        for unsubscribe in self._news.subscribe_lists(connection.outbox.put):
            connection.lifetime.on_end(unsubscribe)

    def _on_cancelled(self, notification: Notification, connection: Connection) -> None:
        request_id = notification.params.get("requestId")
        if is_request_id(request_id) and connection.in_flight.cancel(request_id):
            _log.info("The client cancelled its request %r", request_id)
