from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import (
    CallTimeoutError,
    ConflictError,
    InternalError,
    OverloadedError,
    RateLimitedError,
    ServerError,
    UnavailableError,
    UnknownToolError,
)
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall
from tests.unit.tools.sample_tools import names_in, service_of, tool

NOBODY = Principal("nobody", frozenset())


class Gate:
    """A handler that runs until it is released, and tells what happens to it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, _call: ToolCall) -> dict[str, Any]:
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return {}


async def call(
    service: ToolService, name: str, principal: Principal = ANONYMOUS, **arguments: Any
) -> dict[str, Any]:
    return await service.call(principal, name, arguments, request_id="r1")


async def error_of(
    service: ToolService, name: str, principal: Principal = ANONYMOUS
) -> ServerError:
    with pytest.raises(ServerError) as raised:
        await call(service, name, principal)
    return raised.value


def raising(error: BaseException) -> ToolService:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        raise error

    return service_of(tool("broken", handler))


async def test_a_call_reaches_its_handler_with_who_what_and_the_request_id() -> None:
    seen: list[ToolCall] = []

    async def handler(given: ToolCall) -> dict[str, Any]:
        seen.append(given)
        return {"out": 1}

    service = service_of(tool("a", handler))

    assert await call(service, "a", x=1) == {"out": 1}
    assert seen == [ToolCall(ANONYMOUS, {"x": 1}, "r1")]


async def test_a_hidden_tool_is_refused_in_the_words_of_an_unknown_one() -> None:
    with_it = service_of(tool("secret_tool"), tool("open_tool", permissions=()))
    without_it = service_of(tool("open_tool", permissions=()))

    hidden = await error_of(with_it, "secret_tool", NOBODY)
    unknown = await error_of(without_it, "secret_tool", NOBODY)

    assert isinstance(hidden, UnknownToolError)
    assert hidden.to_dict("r") == unknown.to_dict("r")


async def test_only_visible_tools_are_suggested() -> None:
    service = service_of(tool("Company_list"), tool("Company_lisp", permissions=()))

    assert (await error_of(service, "Company_lis", NOBODY)).details == {"similar": ["Company_lisp"]}
    assert "Did you mean" not in (await error_of(service, "zzz")).message


async def test_an_absurdly_long_name_is_answered_in_short() -> None:
    assert len((await error_of(service_of(tool("a")), "x" * 1_000_000)).message) < 300


async def test_a_call_that_takes_too_long_is_stopped() -> None:
    gate = Gate()
    error = await error_of(service_of(tool("slow", gate), timeout_seconds=0.01), "slow")

    assert isinstance(error, CallTimeoutError)
    assert error.code == "timeout"
    assert "slow took longer than 0.01 s" in error.message
    assert gate.cancelled.is_set()


async def test_a_timeout_inside_a_handler_is_not_blamed_on_the_call() -> None:
    error = await error_of(raising(TimeoutError("driver at db.internal")), "broken")

    assert isinstance(error, InternalError)


@pytest.mark.parametrize(
    "defect",
    [
        RuntimeError("password=hunter2"),
        KeyError("hunter2"),
        AssertionError("hunter2"),
        RecursionError("hunter2"),
        ExceptionGroup("hunter2", [ValueError("hunter2")]),
    ],
)
async def test_an_unexpected_exception_tells_the_caller_nothing(defect: Exception) -> None:
    error = await error_of(raising(defect), "broken")

    assert isinstance(error, InternalError)
    assert "hunter2" not in json.dumps(error.to_dict("r1"))
    assert error.__cause__ is defect


async def test_an_error_meant_for_the_caller_passes_unchanged() -> None:
    conflict = ConflictError("Taken.", field="data.name")

    assert await error_of(raising(conflict), "broken") is conflict


async def test_cancellation_passes_and_reaches_the_handler() -> None:
    gate = Gate()
    calling = asyncio.create_task(call(service_of(tool("slow", gate)), "slow"))
    await gate.started.wait()
    calling.cancel()

    with pytest.raises(asyncio.CancelledError):
        await calling
    assert gate.cancelled.is_set()


async def test_calls_beyond_running_and_waiting_are_refused_and_the_rest_served() -> None:
    gate = Gate()
    service = service_of(tool("slow", gate), tool("quick"), running=1)
    running = asyncio.create_task(call(service, "slow"))
    await gate.started.wait()
    waiting = asyncio.create_task(call(service, "quick", x=1))
    await asyncio.sleep(0)

    refused = await error_of(service, "quick")
    gate.release.set()

    assert isinstance(refused, OverloadedError)
    assert refused.retry_after_seconds == 1
    assert await running == {}
    assert await waiting == {"x": 1}


async def test_a_principal_over_its_rate_is_refused_and_others_are_not() -> None:
    service = service_of(tool("a"), per_minute=2)
    other = Principal("other", frozenset({"*"}))
    await call(service, "a")
    await call(service, "a")

    assert isinstance(await error_of(service, "a"), RateLimitedError)
    assert await call(service, "a", other) == {}


async def test_guessing_names_uses_up_the_rate_too() -> None:
    service = service_of(tool("a"), per_minute=2)
    await error_of(service, "b")
    await error_of(service, "c")

    assert isinstance(await error_of(service, "a"), RateLimitedError)


async def test_one_who_is_over_its_rate_learns_nothing_about_names() -> None:
    service = service_of(tool("a"), per_minute=1)
    await call(service, "a")

    assert isinstance(await error_of(service, "no_such_tool"), RateLimitedError)


async def test_a_tool_that_breaks_each_time_is_left_alone_and_others_are_not() -> None:
    ran = []

    async def handler(_call: ToolCall) -> dict[str, Any]:
        ran.append(1)
        raise KeyError("a defect")

    service = service_of(tool("broken", handler), tool("a"), breakers=Breakers(3, 60))
    codes = [(await error_of(service, "broken")).code for _ in range(5)]

    assert codes == ["internal"] * 3 + ["circuit_open"] * 2
    assert len(ran) == 3
    assert await call(service, "a", x=1) == {"x": 1}


async def test_a_backend_that_does_not_answer_is_left_alone_by_all_its_tools() -> None:
    async def handler(_call: ToolCall) -> dict[str, Any]:
        raise UnavailableError("The database does not answer.")

    tools = [replace(tool(name, handler), backend="database") for name in ("a", "b")]
    service = service_of(*tools, tool("c"), breakers=Breakers(2, 60))
    await error_of(service, "a")
    await error_of(service, "b")

    refused = await error_of(service, "a")

    assert (refused.code, refused.retry_after_seconds) == ("circuit_open", 60)
    assert await call(service, "c") == {}


async def test_calls_that_take_too_long_open_the_circuit_of_their_backend() -> None:
    gate = Gate()
    slow = replace(tool("slow", gate), backend="database")
    service = service_of(slow, timeout_seconds=0.01, breakers=Breakers(2, 60))

    codes = [(await error_of(service, "slow")).code for _ in range(3)]

    assert codes == ["timeout", "timeout", "circuit_open"]


async def test_calls_are_refused_while_the_service_is_drained_and_running_ones_end() -> None:
    gate = Gate()
    service = service_of(tool("slow", gate), tool("a"))
    running = asyncio.create_task(call(service, "slow"))
    await gate.started.wait()
    draining = asyncio.create_task(service.drain(5))
    await asyncio.sleep(0)

    refused = await error_of(service, "a")
    assert service.is_draining
    assert isinstance(refused, UnavailableError)
    assert refused.retry_after_seconds == 1

    gate.release.set()
    assert await running == {}
    assert await draining
    service.mark_ready()
    assert await call(service, "a") == {}


async def test_draining_ends_with_its_time() -> None:
    gate = Gate()
    service = service_of(tool("slow", gate))
    running = asyncio.create_task(call(service, "slow"))
    await gate.started.wait()

    assert not await service.drain(0.01)

    gate.release.set()
    await running


def test_tools_are_listed_in_the_order_of_the_registry() -> None:
    service = service_of(tool("c"), tool("a", permissions=()), tool("b"))

    assert [each.name for each in service.visible(ANONYMOUS)] == ["c", "a", "b"]
    assert names_in(service.encoded_list(ANONYMOUS).body) == ["c", "a", "b"]
    assert names_in(service.encoded_list(NOBODY).body) == ["a"]


def test_a_list_is_encoded_once_for_each_set_of_permissions() -> None:
    service = service_of(tool("a"))
    one = Principal("one", frozenset({"session:*", "x:read"}))
    same = Principal("other", frozenset({"x:read", "session:*"}), method="jwt")

    assert service.encoded_list(one).body is service.encoded_list(same).body
    assert service.encoded_list(ANONYMOUS).body is not service.encoded_list(one).body


def test_a_change_of_the_tools_shows_in_the_next_list() -> None:
    service = service_of(tool("a", group="x"))
    assert names_in(service.encoded_list(ANONYMOUS).body) == ["a"]

    service.registry.add([tool("b")])
    assert names_in(service.encoded_list(ANONYMOUS).body) == ["a", "b"]

    service.registry.remove_group("x")
    assert names_in(service.encoded_list(ANONYMOUS).body) == ["b"]


def test_who_is_told_of_a_change_sees_the_new_list() -> None:
    service = service_of()
    service.mark_ready()
    seen: list[list[str]] = []
    service.encoded_list(ANONYMOUS)
    unsubscribe = service.on_tools_changed(
        lambda: seen.append(names_in(service.encoded_list(ANONYMOUS).body))
    )
    service.registry.add([tool("a")])
    unsubscribe()
    service.registry.add([tool("b")])

    assert seen == [["a"]]


def test_tools_that_come_before_the_start_is_done_are_no_change() -> None:
    service = service_of()
    told: list[str] = []
    service.on_tools_changed(lambda: told.append("changed"))

    service.registry.add([tool("a")])
    assert told == []

    service.mark_ready()
    service.registry.add([tool("b")])
    assert told == ["changed"]


def test_lists_are_kept_for_a_bounded_number_of_permission_sets() -> None:
    service = service_of(tool("a"))
    for number in range(1_000):
        service.encoded_list(Principal("p", frozenset({f"x{number}:read"})))
    assert len(service._catalogue) <= 256

    service.registry.add([tool("b")])
    assert len(service._catalogue) == 0


def test_listed_result_schemas_take_the_results_of_failed_calls_too() -> None:
    """The TypeScript SDK refuses a result that does not fit, and an agent would never see why."""
    [full] = json.loads(
        service_of(tool("a"), list_output_schemas=True).encoded_list(ANONYMOUS).body
    )
    fits = jsonschema.Draft202012Validator(full["outputSchema"]).is_valid

    assert fits({"out": 1})
    assert fits({"error": ConflictError("The name is taken.").to_dict("r1")})
    assert not fits({"other": 1})


def test_result_schemas_are_listed_on_demand() -> None:
    [plain] = json.loads(service_of(tool("a")).encoded_list(ANONYMOUS).body)
    [full] = json.loads(
        service_of(tool("a"), list_output_schemas=True).encoded_list(ANONYMOUS).body
    )

    assert "outputSchema" not in plain
    assert full["outputSchema"]["type"] == "object"
    assert {"type": "object", "required": ["out"]} in full["outputSchema"]["anyOf"]
    assert plain["annotations"] == {"readOnlyHint": True, "openWorldHint": False}
    assert full["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }


async def test_ready_waits_for_the_tools() -> None:
    service = service_of()
    waiting = asyncio.create_task(service.ready())
    await asyncio.sleep(0)
    assert not waiting.done()

    service.mark_ready()
    await waiting


async def test_ready_tells_of_a_failed_start_until_one_succeeds() -> None:
    service = service_of()
    service.mark_failed()
    with pytest.raises(UnavailableError):
        await service.ready()

    service.mark_ready()
    await service.ready()


async def test_listeners_hear_of_successful_calls_and_their_defects_hurt_nobody() -> None:
    async def refuse(_call: ToolCall) -> dict[str, Any]:
        raise ConflictError("Taken.")

    service = service_of(tool("echo"), tool("refuse", refuse))
    heard: list[tuple[str, str, dict[str, Any]]] = []

    def break_down(*_heard: Any) -> None:
        raise RuntimeError("a defect")

    service.on_called(break_down)
    end = service.on_called(
        lambda *heard_of: heard.append((heard_of[0].name, heard_of[1].subject, heard_of[2]))
    )
    assert await call(service, "echo", a=1) == {"a": 1}
    await error_of(service, "refuse")
    await error_of(service, "unknown")
    assert heard == [("echo", ANONYMOUS.subject, {"a": 1})]

    end()
    await call(service, "echo")
    assert len(heard) == 1


async def test_a_tool_beside_the_registry_runs_under_the_same_policy_and_limits() -> None:
    service = service_of(per_minute=2)
    hidden = tool("hidden", permissions=("monitor:read",))

    assert await service.run(ANONYMOUS, hidden, request_id="r1") == {}
    with pytest.raises(UnknownToolError):
        await service.run(NOBODY, hidden, request_id="r1")
    await service.run(ANONYMOUS, hidden, request_id="r1")
    with pytest.raises(RateLimitedError):
        await service.run(ANONYMOUS, hidden, request_id="r1")
    assert service.visible(ANONYMOUS) == []
