"""JSON-RPC 2.0 on the wire: bytes to checked messages, and results to bytes.

Decoding is strict. A text that is no JSON is -32700; JSON that is no MCP message is -32600.
Integers of any size survive as Python integers, up to the interpreter's limit on digits; a number
beyond a double's range, NaN and Infinity are refused. Duplicate members: the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeGuard

import msgspec

from kailash_mcp_prod.protocol.faults import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    RpcError,
)
from kailash_mcp_prod.protocol.messages import (
    Batch,
    ClientResponse,
    Invalid,
    Message,
    Notification,
    Reply,
    Request,
    RequestId,
)
from kailash_mcp_prod.protocol.nesting import MAX_COLLECTIONS, nests_deeper_than

MAX_DEPTH: Final = 64
MAX_BATCH: Final = 50
_NO_JSON: Final = "The body is not valid JSON in UTF-8."


class InvalidMessageError(RpcError):
    """A message that can't be dispatched; `id` is the request's, where it could be read."""

    def __init__(self, code: int, message: str, *, id: RequestId | None = None) -> None:  # noqa: A002
        super().__init__(code, message)
        self.id = id


class _Envelope(msgspec.Struct, frozen=True, gc=False):
    jsonrpc: Any = msgspec.UNSET
    id: Any = msgspec.UNSET
    method: Any = msgspec.UNSET
    params: Any = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Identity(msgspec.Struct, frozen=True, gc=False):
    id: str | int | None = None


_body = msgspec.json.Decoder(_Envelope | list[msgspec.Raw])
_element = msgspec.json.Decoder(_Envelope)
_identity = msgspec.json.Decoder(_Identity)
_encoder = msgspec.json.Encoder()


def decode(body: bytes) -> Message:
    """Check one JSON-RPC text and return its message.

    Raises:
        InvalidMessageError: -32700 for a text that isn't JSON, -32600 for one that is no message,
            -32602 for parameters given by position.
    """
    if not body.isascii():
        # The decoder looks at no text that it leaves out.
        _check_text(body)
    if nests_deeper_than(MAX_DEPTH, body):
        raise InvalidMessageError(
            INVALID_REQUEST,
            f"The message is nested deeper than {MAX_DEPTH} levels, or has more than "
            f"{MAX_COLLECTIONS:,} arrays and objects.",
        )
    parsed = _parse(body, _body)
    if isinstance(parsed, _Envelope):
        return _message(parsed)
    if not parsed:
        raise InvalidMessageError(INVALID_REQUEST, "A batch must not be empty.")
    if len(parsed) > MAX_BATCH:
        raise InvalidMessageError(
            INVALID_REQUEST, f"A batch holds at most {MAX_BATCH} messages, this one {len(parsed)}."
        )
    return Batch(tuple(_batch_item(bytes(raw)) for raw in parsed))


def is_request_id(value: Any) -> TypeGuard[RequestId]:
    """Whether a decoded value may be the id of a request: a string or an integer."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def encode_result(id: RequestId, result: Any) -> Reply:  # noqa: A002
    """The response that carries a result; `msgspec.Raw` values go out as they are."""
    failed = isinstance(result, dict) and result.get("isError") is True
    body = _encoder.encode({"jsonrpc": "2.0", "id": id, "result": result})
    return Reply(body, is_error=failed)


def encode_error(id: RequestId | None, error: RpcError) -> Reply:  # noqa: A002
    """The response that carries an error; its id is null where the request's couldn't be read."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return Reply(_encoder.encode({"jsonrpc": "2.0", "id": id, "error": body}), error.code)


def encode_notification(method: str, params: dict[str, Any] | None = None) -> bytes:
    """A notification of the server."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return _encoder.encode(message)


def encode_request(id: RequestId, method: str, params: dict[str, Any]) -> bytes:  # noqa: A002
    """A request of the server to a client of the old era."""
    return _encoder.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def join_batch(replies: Iterable[Reply]) -> Reply | None:
    """The array of the given responses, or `None` when there are none."""
    bodies = [reply.body for reply in replies]
    return Reply(b"[" + b",".join(bodies) + b"]") if bodies else None


def _parse(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        # Raised at the first wrong type, before the rest was looked at.
        if _is_json(body):
            message = f"The body is no JSON-RPC message: {error}."
            raise InvalidMessageError(INVALID_REQUEST, message, id=_read_id(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        raise InvalidMessageError(INVALID_REQUEST, "The message is nested too deeply.") from None
    raise InvalidMessageError(PARSE_ERROR, _NO_JSON)


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError:
        raise InvalidMessageError(PARSE_ERROR, _NO_JSON) from None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.ValidationError:  # a number out of range, in good JSON
        return True
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _read_id(body: bytes) -> RequestId | None:
    try:
        return _identity.decode(body).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _batch_item(raw: bytes) -> Request | Notification | ClientResponse | Invalid:
    try:
        return _message(_parse(raw, _element))
    except InvalidMessageError as error:
        return Invalid(error.id, error)


def _message(envelope: _Envelope) -> Request | Notification | ClientResponse:
    known_id: RequestId | None = envelope.id if is_request_id(envelope.id) else None

    def refuse(message: str, code: int = INVALID_REQUEST) -> InvalidMessageError:
        return InvalidMessageError(code, message, id=known_id)

    if envelope.jsonrpc != "2.0":
        raise refuse('The member "jsonrpc" must be "2.0".')
    if envelope.id is not msgspec.UNSET and known_id is None:
        is_error_response = envelope.id is None and envelope.error is not msgspec.UNSET
        if not is_error_response or envelope.method is not msgspec.UNSET:
            raise refuse("The id must be a string or an integer.")
    answers = (envelope.result is not msgspec.UNSET) + (envelope.error is not msgspec.UNSET)
    if envelope.method is msgspec.UNSET:
        if answers == 1 and envelope.id is not msgspec.UNSET:
            raw = envelope.result
            return ClientResponse(
                known_id, None if isinstance(raw, msgspec.UnsetType) else bytes(raw)
            )
        raise refuse('The message has neither a "method" nor exactly one of "result" and "error".')
    if answers:
        raise refuse('A request must not carry "result" or "error".')
    if not isinstance(envelope.method, str):
        raise refuse("The method must be a string.")
    params = {} if envelope.params is msgspec.UNSET else envelope.params
    if isinstance(params, list):
        raise refuse("MCP takes parameters by name: params must be an object.", INVALID_PARAMS)
    if not isinstance(params, dict):
        raise refuse("params must be an object.")
    if known_id is None:
        return Notification(envelope.method, params)
    return Request(known_id, envelope.method, params)
