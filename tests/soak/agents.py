"""The agents: each makes, changes, reads and deletes notes; what is not answered it sends again."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import jwt

from tests.soak.ledger import Ledger, Note

TENANTS = 25
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_MOST_NOTES = 20
_CALL_SECONDS = 40.0
_LONGEST_PAUSE = 2.0


class Replicas:
    """Where the replicas are, for a client that goes on with another one.

    Args:
        ports: On which they listen.
        tls: Any context; to make one for each client takes long.
    """

    def __init__(self, ports: Sequence[int], tls: ssl.SSLContext) -> None:
        self.ports = list(ports)
        # One for each agent: a pool looks at all of its connections for each request.
        self.client = httpx.AsyncClient(timeout=_CALL_SECONDS, verify=tls)

    async def call(
        self, port: int, over_mcp: bool, token: str, tool: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a tool answers: `{"result": ...}` or `{"error": ...}`.

        Raises:
            httpx.TransportError: Nobody does.
        """
        headers = {"authorization": f"Bearer {token}"}
        if not over_mcp:
            url = f"http://127.0.0.1:{port + 1}/tools/{tool}"
            body = (await self.client.post(url, json=arguments, headers=headers)).json()
            return body if "error" in body else {"result": body}
        headers |= {"accept": "application/json, text/event-stream", "mcp-name": tool}
        headers |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
        params = {"name": tool, "arguments": arguments, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        url = f"http://127.0.0.1:{port}/mcp"
        return _of_mcp(await self.client.post(url, json=message, headers=headers))


def _of_mcp(response: httpx.Response) -> dict[str, Any]:
    text = response.text
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        # What takes long becomes a stream, whose last event is the answer.
        events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        if not events:
            raise httpx.RemoteProtocolError("the stream ended without an answer")
        body = json.loads(events[-1])
    else:
        body = response.json()
    if "error" in body:
        data = body["error"].get("data")
        return {"error": data or {"code": "rpc", "message": body["error"]["message"]}}
    structured: dict[str, Any] = body["result"]["structuredContent"]
    return structured if body["result"].get("isError") else {"result": structured}


class Agent:
    """One agent.

    Args:
        number: Which.
        replicas: Whom it asks.
        ledger: What it is told stands there.
        secret: Signs its token.
        seed: Of its choices.
        pause: How long it waits between two things to do, in seconds on average.
    """

    def __init__(
        self,
        number: int,
        replicas: Replicas,
        ledger: Ledger,
        *,
        secret: str,
        seed: int,
        pause: float,
    ) -> None:
        self._name = f"agent-{number}"
        self._tenant = f"tenant-{number % TENANTS}"
        self._replicas = replicas
        self._ledger = ledger
        self._random = random.Random(f"{seed}/{number}")
        self._pause = pause
        self._numbers = itertools.count(1)
        self._mine: dict[str, Note] = {}
        claims = {"sub": self._name, "tenant_id": self._tenant, "permissions": ["*"]}
        self._token = jwt.encode({**claims, "exp": time.time() + 86_400}, secret, "HS256")

    async def work(self, ending: asyncio.Event) -> None:
        """Works until the end; what is begun then is finished."""
        async with self._replicas.client:
            while not ending.is_set():
                pause = self._random.uniform(0, 2 * self._pause)
                try:
                    await asyncio.wait_for(ending.wait(), pause)
                except TimeoutError:
                    await self._do_something()

    async def _do_something(self) -> None:
        alive = [name for name, note in self._mine.items() if not note.going]
        if len(alive) >= _MOST_NOTES:
            await self._delete(self._random.choice(alive))
        elif not alive or self._random.random() < 0.25:
            await self._create()
        else:
            name = self._random.choice(alive)
            act = self._random.choices(
                [self._update, self._read, self._list, self._delete], [4, 4, 2, 1]
            )[0]
            await act(name)

    async def _create(self) -> None:
        name = f"{self._name}/{next(self._numbers)}"
        note = self._mine[name] = self._ledger.notes[name] = Note(self._tenant)
        body = "x" * self._random.randint(0, 500)
        made = await self._ask("Note_create", {"data": {"name": name, "body": body}}, changes=True)
        note.id = made["id"]

    async def _update(self, name: str) -> None:
        note = self._mine[name]
        note.tried += 1
        sent = {"id": note.id, "data": {"version": note.tried}}
        done = await self._ask("Note_update", sent, changes=True)
        note.told = max(note.told, int(done["version"]))

    async def _read(self, name: str) -> None:
        note = self._mine[name]
        told = note.told
        found = await self._ask("Note_read", {"id": note.id})
        self._ledger.note(found, self._tenant)
        self._ledger.fresh(found, told)

    async def _list(self, _name: str) -> None:
        found = await self._ask("Note_list", {"limit": 20})
        for record in found["records"]:
            self._ledger.note(record, self._tenant)

    async def _delete(self, name: str) -> None:
        note = self._mine[name]
        note.going = True
        await self._ask("Note_delete", {"id": note.id}, changes=True)
        note.gone = True
        del self._mine[name]

    async def _ask(
        self, tool: str, arguments: Mapping[str, Any], *, changes: bool = False
    ) -> dict[str, Any]:
        """The result of a call, which is sent again until there is one."""
        sent = dict(arguments)
        if changes:
            sent["_idempotency_key"] = f"{self._random.getrandbits(128):032x}"
        over_mcp = self._random.random() < 0.5
        pause = 0.05
        while True:
            port = self._random.choice(self._replicas.ports)
            began = time.perf_counter()
            try:
                answer = await self._replicas.call(port, over_mcp, self._token, tool, sent)
            except httpx.TransportError:
                # It may have been done all the same: the key tells that it is the same change.
                self._ledger.answers["no answer"] += 1
            else:
                if "result" in answer:
                    self._ledger.seconds.append(time.perf_counter() - began)
                    self._ledger.answers["ok"] += 1
                    result: dict[str, Any] = answer["result"]
                    return result
                error = answer["error"]
                self._ledger.answers[error["code"]] += 1
                done = (error.get("details") or {}).get("outcome") == "done"
                if not (error.get("retryable") or done):
                    self._ledger.faults.append(f"{tool}: {error['code']}: {error['message']}")
                    raise UnexpectedError(error["code"])
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            pause = min(2 * pause, _LONGEST_PAUSE)


class UnexpectedError(Exception):
    """An answer that should not have been given; the ledger has it."""
