from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import LOCAL, Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.tools.claimed_session import NO_SESSIONS, with_session
from kailash_mcp_prod.tools.spec import ToolCall
from tests.unit.tools.conftest import Reference


def call(session_id: str | None = None, **arguments: Any) -> ToolCall:
    return ToolCall(LOCAL, arguments, "r1", session_id=session_id)


def test_a_call_that_names_no_session_stays_the_same() -> None:
    plain = call(limit=5)

    assert with_session(plain) is plain


def test_the_session_leaves_the_arguments() -> None:
    found = with_session(call(_session_id="as_1", limit=5))

    assert (found.session_id, found.arguments) == ("as_1", {"limit": 5})
    assert with_session(call("as_1", _session_id="as_1")).session_id == "as_1"


@pytest.mark.parametrize("named", [None, 5, ["as_1"], "as_2"])
def test_what_names_no_session_or_a_second_one_is_refused(named: Any) -> None:
    with pytest.raises(InvalidArgumentsError) as raised:
        with_session(call("as_1", _session_id=named))
    assert raised.value.field == "_session_id"


def test_where_there_are_no_sessions_none_is_found() -> None:
    with pytest.raises(NotFoundError, match="no sessions"):
        NO_SESSIONS.counting(LOCAL, "as_1")


async def test_a_call_in_a_session_is_counted_and_an_unknown_one_does_not_run(
    reference: Reference,
) -> None:
    service = reference.service()
    counted: list[str] = []

    class Sessions:
        @asynccontextmanager
        async def counting(self, _principal: Principal, session_id: str) -> AsyncIterator[None]:
            if session_id != "as_1":
                raise NotFoundError("There is none.", field="_session_id")
            yield
            counted.append(session_id)

    service.sessions = Sessions()
    service.mark_ready()
    arguments = {"model": "Company", "_session_id": "as_1"}
    await service.call(LOCAL, "get_dataflow_models_info", arguments, request_id="r1")
    await service.call(LOCAL, "get_dataflow_models_info", {"model": "Company"}, request_id="r2")
    inner = {"name": "get_dataflow_models_info", "arguments": {"_session_id": "as_2"}}
    with pytest.raises(NotFoundError) as raised:
        await service.call(LOCAL, "call_tool", inner, request_id="r3", surface="search")

    assert counted == ["as_1"]
    assert raised.value.field == "arguments._session_id"
