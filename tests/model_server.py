"""A local server with OpenAI's API, whose model follows a script and remembers what it was sent."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Message = dict[str, Any]
Model = Callable[[dict[str, Any]], Message]


class ModelServer(ThreadingHTTPServer):
    """Answers chat completions.

    Attributes:
        requests: The bodies and headers of all requests, as text.
        bodies: The bodies alone.
    """

    daemon_threads = True

    def __init__(self, model: Model) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.requests: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        """What a client takes as `base_url`."""
        return f"http://localhost:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may leave before it is answered; anything else is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = json.loads(text)
        self.server.requests.append(f"{self.path}\n{self.headers}\n{text}")
        self.server.bodies.append(body)
        message = {"role": "assistant", "content": None, **self.server.model(body)}
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        answer = json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Nothing is logged."""


@contextmanager
def running_model(model: Model) -> Iterator[ModelServer]:
    """Serve a model until the end of the block."""
    with ModelServer(model) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def call(tool: str, arguments: dict[str, Any], number: int = 1) -> Message:
    """A model's call of a tool, as part of its message."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {"id": f"call_{number}", "type": "function", "function": function}


def user_of(body: dict[str, Any]) -> str:
    """What the user has said first."""
    said: str = next(each["content"] for each in body["messages"] if each["role"] == "user")
    return said


def results_in(body: dict[str, Any]) -> list[str]:
    """What a request says that tools have answered."""
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]
