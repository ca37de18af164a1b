"""What workflow sessions do, on one server and on two replicas with calls to either at random."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from kailash_mcp_prod.errors import (
    CallTimeoutError,
    ConflictError,
    ForbiddenError,
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    ServerError,
    UnavailableError,
    UnknownToolError,
)
from kailash_mcp_prod.sessions.workflow_state import MovedOnError, owner_of
from tests.integration.workflows.workflow_world import (
    ALICE,
    BOB,
    CLEANUP,
    CREATE,
    EXECUTE,
    READER,
    STATUS,
    World,
    create,
    operation,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Each of these the runtime's own sanitiser or its templates would rewrite somewhere.
TEXT = (
    "select from `x`; drop table y; -- or 1=1 /*c*/ exec( $(rm -rf) ${tool} ${name} "
    "<script>alert('1')</script> javascript:x \"q\" | & {{ {}} }} \\ \u00e9\U0001f600"
)


async def test_a_step_refers_to_what_earlier_ones_have_made(world: World) -> None:
    session = await world.begin(region="north", size=3)
    made = await world.result(session, "make", create("a", amount=7))
    read = await world.result(session, "read", operation("read", id="{{previous_result.id}}"))
    next_one = create(
        "{{session.region}} {{steps.make.amount}}",
        amount="{{steps.make.amount}}",
        note="{{session.size}}: {{steps.read}}",
    )
    with pytest.raises(InvalidArgumentsError) as refused:
        await world.step(session, "wrong", create("x", amount="{{session.region}}"))
    copied = await world.result(session, "copy", next_one)

    assert made == read
    assert (copied["name"], copied["amount"]) == ("north 7", 7)
    assert copied["note"].startswith('3: {"id":"')
    assert refused.value.field == "step_config.parameters.amount"
    assert await world.names() == ["a", "north 7"]


async def test_an_unknown_reference_is_named_and_nothing_is_done(world: World) -> None:
    session = await world.begin()
    await world.result(session, "make", create("a"))

    with pytest.raises(InvalidArgumentsError) as refused:
        await world.step(session, "copy", create("b", note="{{steps.mak.id}}"))

    assert refused.value.field == "step_config.parameters.note"
    assert "{{steps.mak.id}}" in refused.value.message
    assert refused.value.details == {"reference": "steps.mak.id", "available": ["make"]}
    assert await world.names() == ["a"]


async def test_no_text_is_rewritten_on_the_way(world: World) -> None:
    session = await world.begin(text=TEXT)
    made = await world.result(
        session, "make", {**create("x"), "parameters": {"name": "{{session.text}}"}}
    )
    again = await world.result(session, "again", create("{{steps.make.name}}"))
    flowed = await world.result(
        session,
        "flow",
        {"type": "workflow", "workflow": "two_items", "inputs": {"name": "{{steps.make.name}}"}},
    )

    assert made["name"] == again["name"] == TEXT
    assert flowed["name"] == f"{TEXT} too"


async def test_a_step_is_done_once_and_answers_again(world: World) -> None:
    session = await world.begin()
    first = await world.step(session, "make", create("a"))
    again = [await world.step(session, "make", create("a")) for _ in range(4)]
    with pytest.raises(ConflictError) as refused:
        await world.step(session, "make", create("b"))

    assert all(each == {**first, "repeated": True} for each in again)
    assert refused.value.field == "step_name"
    assert await world.names() == ["a"]


async def test_the_same_step_at_once_is_done_once(world: World) -> None:
    session = await world.begin()
    done = await asyncio.gather(*(world.step(session, "make", create("a")) for _ in range(12)))

    assert len({each["result"]["id"] for each in done}) == 1
    assert await world.names() == ["a"]


async def test_different_steps_at_once_come_one_after_another(world: World) -> None:
    session = await world.begin()

    async def drive(number: int) -> str:
        for _ in range(40):
            with contextlib.suppress(MovedOnError):
                await world.step(session, f"make{number}", create(f"n{number}"))
                return f"n{number}"
        raise AssertionError("it never came to its turn")

    made = await asyncio.gather(*(drive(number) for number in range(6)))
    status = await world.status(session)

    assert await world.names() == sorted(made)
    assert [each["step_number"] for each in status["steps"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"type": "magic"}, "step_config.type"),
        ({**create("a"), "modle": "x"}, "step_config.modle"),
        ({"type": "dataflow_operation", "model": "Item"}, "step_config.operation"),
        (operation("create", "Nothing", name="a"), "step_config.operation"),
        ({**create("a"), "on_error": "panic"}, "step_config.on_error.action"),
        ({"type": "tool", "tool": EXECUTE, "arguments": {}}, "step_config.tool"),
        ({"type": "parallel", "steps": []}, "step_config.steps"),
        (operation("create", nam="a"), "step_config.parameters.name"),
        (operation("list", filtre={}), "step_config.parameters.filtre"),
        ({"type": "workflow", "workflow": "nothing"}, "step_config.workflow"),
        ({"type": "workflow", "workflow": "two_items"}, "step_config.inputs.name"),
        (
            {"atomic": True, "steps": [{"step_name": "x", "type": "tool", "tool": "Item_list"}]},
            "step_config.steps[0].type",
        ),
        (
            {"atomic": True, "steps": [{"step_name": "x", **create("k", "Kept")}]},
            "step_config.steps[0].model",
        ),
    ],
)
async def test_a_wrong_step_says_where_and_changes_nothing(
    world: World, config: dict[str, Any], field: str
) -> None:
    session = await world.begin()
    with pytest.raises(ServerError) as refused:
        await world.step(session, "wrong", config)

    assert refused.value.code in {"invalid_arguments", "not_found"}
    assert refused.value.field == field
    # After mending it, the same name can be used.
    assert (await world.step(session, "wrong", create("right")))["success"]
    assert await world.names() == ["right"]


@pytest.mark.parametrize("half", ["\ud800", "a\x00b"])
async def test_what_no_database_takes_is_refused_before_anything_runs(
    world: World, half: str
) -> None:
    session = await world.begin()
    for arguments in (
        {"workflow_session_id": session, "step_name": half, "step_config": create("a")},
        {"workflow_session_id": half, "step_name": "x", "step_config": create("a")},
        {"workflow_session_id": session, "step_name": "x", "step_config": create(half)},
    ):
        with pytest.raises((InvalidArgumentsError, NotFoundError)):
            await world.call(EXECUTE, **arguments)
    with pytest.raises(InvalidArgumentsError):
        await world.call(CREATE, workflow_type=half)
    if half == "\ud800":
        with pytest.raises(InvalidArgumentsError):
            await world.begin(x=half)

    assert await world.names() == []


async def test_steps_that_break_close_the_tool_to_nobody(world: World) -> None:
    session = await world.begin()
    for _ in range(12):
        with pytest.raises(InternalError):
            await world.step(session, "x", {"type": "workflow", "workflow": "broken"})

    assert (await world.step(session, "x", create("a")))["success"]


async def test_natural_forms_of_parameters_are_taken(world: World) -> None:
    session = await world.begin()
    await world.result(session, "a", operation("create", data={"name": "nested"}))
    made = await world.result(session, "b", operation("create", name="flat"))
    changed = await world.result(session, "c", operation("update", id=made["id"], amount=5))
    await world.result(session, "d", operation("update", id=made["id"], data={"note": "n"}))
    found = await world.result(session, "e", operation("list", filters={"amount": 5}))
    got = await world.result(session, "f", operation("get", id=made["id"]))
    by_tool = await world.result(
        session, "g", {"type": "tool", "tool": "Item_read", "parameters": {"id": made["id"]}}
    )

    assert changed["amount"] == 5
    assert found["count"] == 1
    assert got == by_tool
    assert got["note"] == "n"


async def test_steps_run_side_by_side_and_by_condition(world: World) -> None:
    session = await world.begin()
    both = await world.result(
        session,
        "both",
        {
            "type": "parallel",
            "steps": [
                {"step_name": "a", **create("a", amount=1)},
                {"step_name": "b", **create("b", amount=2)},
            ],
        },
    )
    chosen = await world.result(
        session,
        "choose",
        {
            "type": "condition",
            "condition": {
                "all": [
                    {"left": "{{steps.both.b.amount}}", "operator": ">", "right": 1},
                    {"not": {"left": "{{session.x}}", "operator": "exists"}},
                ]
            },
            "then": [
                {"step_name": "c", **create("c")},
                {"step_name": "d", **create("{{steps.c.name}}{{previous_result.name}}")},
            ],
            "else": [{"step_name": "e", **create("never")}],
        },
    )

    assert set(both) == {"a", "b"}
    assert (chosen["branch"], chosen["steps"]["d"]["name"]) == ("then", "cc")
    assert await world.names() == ["a", "b", "c", "cc"]


async def test_an_atomic_list_is_done_in_one_transaction(world: World) -> None:
    session = await world.begin()
    steps = [
        {"step_name": "a", **create("a", amount=1)},
        {"step_name": "b", **create("of {{steps.a.id}}", "Other", note="{{previous_result.id}}")},
        {"step_name": "c", **operation("update", id="{{steps.a.id}}", amount=2)},
    ]
    failing = [*steps, {"step_name": "d", **operation("delete", "Other", id="nothing")}]
    with pytest.raises(NotFoundError) as refused:
        await world.step(session, "failed", {"atomic": True, "steps": failing})
    assert await world.names() == []
    assert await world.names("Other") == []

    done = await world.step(session, "done", {"atomic": True, "steps": steps})
    again = await world.step(session, "done", {"atomic": True, "steps": steps})

    assert refused.value.field == "step_config.steps[3].parameters.id"
    assert done["result"]["c"]["amount"] == 2
    assert again == {**done, "repeated": True}
    assert await world.names() == ["a"]
    assert await world.names("Other") == [f"of {done['result']['a']['id']}"]


async def test_a_registered_workflow_runs_as_the_caller(world: World) -> None:
    session = await world.begin()
    flow = {"type": "workflow", "workflow": "two_items", "inputs": {"name": "a"}}
    done = await world.result(session, "flow", flow)
    again = await world.step(session, "flow", flow)
    with pytest.raises(InternalError):
        await world.step(session, "broken", {"type": "workflow", "workflow": "broken"})

    foreign = await world.begin(READER)
    with pytest.raises(NotFoundError):
        await world.step(foreign, "flow", flow, by=READER)

    assert done["name"] == "a too"
    assert again["result"] == done
    assert await world.names() == ["a", "a too"]


async def test_a_custom_step_calls_tools(world: World) -> None:
    session = await world.begin()
    done = await world.result(session, "x", {"type": "twice", "parameters": {"name": "c"}})

    assert len(done["ids"]) == 2
    assert await world.names() == ["c 0", "c 1"]


async def test_what_failed_in_the_middle_goes_on_there(world: World) -> None:
    session = await world.begin()
    twice = {"type": "twice", "parameters": {"name": "c"}}
    line = {
        "type": "sequence",
        "steps": [{"step_name": "a", **create("a")}, {"step_name": "b", **twice}],
    }
    other = {"type": "twice", "parameters": {"name": "d"}}
    world.failures_left = 2
    for name, config in (("line", line), ("alone", twice)):
        with pytest.raises(UnavailableError):
            await world.step(session, name, config)
    with pytest.raises(ConflictError) as changed:
        await world.step(session, "alone", other)
    again = await world.result(session, "line", line)
    alone = await world.result(session, "alone", twice)

    assert changed.value.field == "step_config"
    assert len({*again["b"]["ids"], *alone["ids"]}) == 4
    assert await world.names() == ["a", "c 0", "c 0", "c 1", "c 1"]


async def test_a_part_that_was_done_is_not_taken_for_another_one(world: World) -> None:
    session = await world.begin()
    failing = {"step_name": "b", **operation("read", id="nothing")}

    def line(*steps: dict[str, Any]) -> dict[str, Any]:
        return {"type": "sequence", "steps": list(steps)}

    with pytest.raises(NotFoundError):
        await world.step(session, "x", line({"step_name": "a", **create("a")}, failing))
    with pytest.raises(ConflictError):
        await world.step(session, "x", line({"step_name": "a", **create("other")}, failing))
    mended = {"step_name": "b", **create("b of {{steps.a.name}}")}
    done = await world.result(session, "x", line({"step_name": "a", **create("a")}, mended))

    assert done["b"]["name"] == "b of a"
    assert await world.names() == ["a", "b of a"]


async def test_a_read_is_remembered_until_the_session_writes(world: World) -> None:
    session = await world.begin(enable_caching=True)
    made = await world.result(session, "make", create("a"))
    read = operation("read", id=made["id"])
    first = await world.step(session, "r1", read)
    second = await world.step(session, "r2", read)
    await world.result(session, "change", operation("update", id=made["id"], amount=9))
    third = await world.step(session, "r3", read)
    plain = await world.begin()
    fourth = await world.step(plain, "r1", read)
    fifth = await world.step(plain, "r2", read)

    assert [each.get("cached") for each in (first, second, third, fourth, fifth)] == [
        *(None, True, None, None, None)
    ]
    assert second["result"] == first["result"]
    assert third["result"]["amount"] == 9


async def test_a_failure_is_retried_when_that_can_help(world: World) -> None:
    session = await world.begin()
    policy = {"action": "retry", "attempts": 4, "backoff_seconds": 0.01}
    flaky = {"type": "flaky", "parameters": {"say": "hello"}, "on_error": policy}
    world.failures_left = 3
    done = await world.result(session, "patient", flaky)
    runs, world.failures_left = world.custom_runs, 9
    with pytest.raises(UnavailableError):
        await world.step(session, "impatient", flaky)
    left, world.failures_left = world.failures_left, 0
    again = await world.result(session, "impatient", flaky)

    assert done == again == {"said": "hello"}
    assert (runs, left) == (4, 5)


async def test_what_no_retry_can_mend_is_tried_once(world: World) -> None:
    session = await world.begin()
    retry = {"action": "retry", "attempts": 5, "backoff_seconds": 60}
    with pytest.raises(NotFoundError):
        await world.step(session, "x", {**operation("read", id="nothing"), "on_error": retry})


async def test_a_session_can_go_on_after_a_failure(world: World) -> None:
    session = await world.begin(on_error="continue")
    failed = await world.step(session, "x", operation("read", id="nothing"))
    made = await world.result(session, "y", create("{{steps.x.error.code}}"))
    parts = await world.result(
        session,
        "parts",
        {
            "type": "sequence",
            "steps": [
                {"step_name": "a", **operation("read", id="none"), "on_error": "continue"},
                {"step_name": "b", **create("after {{steps.a.error.code}}")},
            ],
        },
    )
    status = await world.status(session)

    assert (failed["success"], failed["result"]) == (False, None)
    assert failed["error"]["code"] == "not_found"
    assert made["name"] == "not_found"
    assert parts["b"]["name"] == "after not_found"
    assert [each["status"] for each in status["steps"]] == ["failed", "done", "done"]


async def test_a_failure_undoes_what_was_done_in_reverse(world: World) -> None:
    session = await world.begin()
    undo = operation("delete", id="{{result.id}}")
    await world.result(session, "a", {**create("a"), "compensate": undo})
    await world.result(session, "kept", create("kept"))
    await world.result(
        session,
        "b",
        {
            **create("b"),
            "compensate": operation("update", id="{{steps.kept.id}}", note="undid {{result.name}}"),
        },
    )
    with pytest.raises(NotFoundError) as failed:
        await world.step(
            session, "c", {**operation("read", id="nothing"), "on_error": "compensate"}
        )
    status = await world.status(session)
    with pytest.raises(ConflictError) as over:
        await world.step(session, "d", create("d"))
    kept = await world.call("Item_list", filter={"name": "kept"})

    assert (failed.value.details or {})["compensated"] == ["b", "a"]
    assert status["status"] == "compensated"
    assert status["error"]["code"] == "not_found"
    assert (over.value.details or {})["status"] == "compensated"
    assert kept["records"][0]["note"] == "undid b"
    assert await world.names() == ["b", "kept"]


async def test_what_could_not_be_undone_is_said_and_can_be_tried_again(world: World) -> None:
    session = await world.begin()
    made = await world.result(
        session, "a", {**create("a"), "compensate": {"type": "flaky", "parameters": {}}}
    )
    world.failures_left = 100
    failing = {**operation("read", id="nothing"), "on_error": "compensate"}
    with pytest.raises(ConflictError) as stuck:
        await world.step(session, "b", failing)
    before = (await world.status(session))["status"]
    world.failures_left = 0
    with pytest.raises(ConflictError):
        await world.step(session, "b", failing)

    assert made["name"] == "a"
    assert (stuck.value.details or {})["step"] == "a"
    assert before == "compensation_failed"
    assert (await world.status(session))["status"] == "compensated"


async def test_a_step_has_its_own_deadline(world: World) -> None:
    session = await world.begin()
    world.failures_left = 10**6
    endless = {
        "type": "flaky",
        "on_error": {"action": "retry", "attempts": 10, "backoff_seconds": 30},
        "timeout_seconds": 0.05,
    }
    sequence = {"type": "sequence", "steps": [{"step_name": "x", **endless}]}
    with pytest.raises((CallTimeoutError, UnavailableError)):
        await world.step(session, "slow", {**sequence, "timeout_seconds": 0.2})
    status = await world.status(session)

    assert status["steps"][0]["status"] == "failed"


async def test_a_template_names_the_steps_and_runs_them(world: World) -> None:
    session = await world.begin(kind="pair")
    left = (await world.status(session))["remaining_steps"]
    first = await world.call(EXECUTE, workflow_session_id=session, step_name="first")
    rest = await world.call(EXECUTE, workflow_session_id=session, run_all=True)
    again = await world.call(EXECUTE, workflow_session_id=session, run_all=True)
    status = await world.status(session)

    assert left == ["first", "second"]
    assert first["result"]["name"] == "t1"
    assert list(rest["result"]) == ["second"]
    assert again["result"] == {}
    assert (status["completed_steps"], status["remaining_steps"]) == (2, [])
    with pytest.raises(InvalidArgumentsError):
        await world.call(EXECUTE, workflow_session_id=session, step_name="third")
    other = await world.begin()
    with pytest.raises(InvalidArgumentsError):
        await world.call(EXECUTE, workflow_session_id=other, run_all=True)
    with pytest.raises(InvalidArgumentsError, match=r"step_name: .* or run_all"):
        await world.call(EXECUTE, workflow_session_id=other)
    unknown = {"type": "workflow", "workflow": "nowhere"}
    with pytest.raises(NotFoundError, match="Unknown workflow 'nowhere'"):
        await world.step(other, "unknown", unknown)


async def test_a_foreign_session_is_as_one_that_is_not_there(world: World) -> None:
    session = await world.begin()
    await world.result(session, "make", create("a"))
    same_subject = type(ALICE)("jwt:alice", frozenset({"Item:read", "workflow:*"}))

    def told(error: ServerError) -> Any:
        return error.to_dict("r")

    for stranger in (BOB, READER, same_subject):
        for tool, arguments in (
            (EXECUTE, {"step_name": "make", "step_config": create("a")}),
            (STATUS, {}),
            (CLEANUP, {}),
        ):
            seen = []
            for id_ in (session, "wf_nothing"):
                with pytest.raises(NotFoundError) as refused:
                    await world.call(tool, stranger, workflow_session_id=id_, **arguments)
                seen.append(told(refused.value))
            assert seen[0] == seen[1]
        assert await world.call(CLEANUP, stranger, idle_minutes=0) == {
            "removed": 0,
            "workflow_session_ids": [],
        }
    assert (await world.status(session))["completed_steps"] == 1


async def test_steps_may_do_what_their_caller_may_and_nothing_else(world: World) -> None:
    session = await world.begin(READER)
    with pytest.raises(NotFoundError):
        await world.step(session, "make", create("a"), by=READER)
    listed = await world.step(session, "list", operation("list"), by=READER)
    with pytest.raises(UnknownToolError):
        await world.begin(type(ALICE)("jwt:nobody", frozenset({"Item:*"})))
    read_only = type(ALICE)("jwt:r", frozenset({"*"}), read_only=True)
    with pytest.raises((UnknownToolError, ForbiddenError)):
        await world.begin(read_only)

    assert listed["result"]["records"] == []
    assert await world.names() == []


async def test_a_session_is_handed_over_between_steps(world: World) -> None:
    session = await world.begin()
    await world.result(session, "make", create("a"))
    server = world.servers[-1]
    state = await server.state.database()

    async def hand_over() -> None:
        give = await server._agents.workflow_sessions.hand_over(session, owner_of(ALICE))
        async with state.begin() as connection:
            await give(connection, owner_of(BOB))

    await hand_over()

    with pytest.raises(NotFoundError):
        await world.status(session)
    with pytest.raises(NotFoundError):
        await world.step(session, "make", create("a"))
    with pytest.raises(NotFoundError):
        await hand_over()
    done = await world.step(session, "b", create("{{steps.make.name}}b"), by=BOB)

    assert done["result"]["name"] == "ab"


async def test_sessions_are_removed_when_they_are_over_or_unwanted(world: World) -> None:
    kept, gone = await world.begin(), await world.begin()
    short = await world.begin(timeout_minutes=0.000001)
    await asyncio.sleep(0.001)
    with pytest.raises(NotFoundError):
        await world.status(short)
    over = await world.call(CLEANUP)
    one = await world.call(CLEANUP, workflow_session_id=gone)
    rest = await world.call(CLEANUP, idle_minutes=0)

    # Whoever makes a session removes what is over, so it may be gone before it is asked for.
    assert over["workflow_session_ids"] in ([short], [])
    assert one["workflow_session_ids"] == [gone]
    assert rest["workflow_session_ids"] == [kept]


async def test_a_session_is_made_once_for_a_key(world: World) -> None:
    made = [
        await world.call(CREATE, workflow_type="custom", _idempotency_key="k1") for _ in range(3)
    ]
    foreign = await world.call(CREATE, BOB, workflow_type="custom", _idempotency_key="k1")
    with pytest.raises(ConflictError):
        await world.call(CREATE, workflow_type="other", _idempotency_key="k1")

    ids = {each["workflow_session_id"] for each in made}
    assert len(ids) == 1
    assert foreign["workflow_session_id"] not in ids


async def test_what_was_done_inside_of_the_step_that_fails_is_undone(world: World) -> None:
    session = await world.begin()
    undo = {"type": "tool", "tool": "Item_delete", "arguments": {"id": "{{result.id}}"}}
    inside = [
        {"step_name": "made", **create("inside"), "compensate": undo},
        {"step_name": "fails", **operation("read", id="nothing")},
    ]
    with pytest.raises(NotFoundError) as failed:
        await world.step(
            session, "all", {"type": "sequence", "steps": inside, "on_error": "compensate"}
        )
    assert (failed.value.details or {})["compensated"] == ["all/made"]
    assert await world.names() == []


async def test_what_steps_inside_of_others_keep_counts(world: World) -> None:
    """Results of parts, and what undoes a step, are bounded with the rest of the session."""
    session = await world.begin()
    large = "x" * 1_000_000
    await world.result(session, "large", {"type": "flaky", "parameters": {"say": large}})
    kept = {"type": "flaky", "parameters": {"say": "{{steps.large.said}}"}}
    parts = [{"step_name": f"p{number}", **kept} for number in range(20)]
    with pytest.raises(ConflictError) as full:
        await world.step(
            session, "many", {"type": "sequence", "steps": parts, "on_error": "compensate"}
        )
    assert (full.value.details or {})["limit"] == 16 * 1024 * 1024

    other = await world.begin()
    undo = {"type": "tool", "tool": "Item_delete", "arguments": {"id": large}}
    for number in range(16):
        await world.step(other, f"s{number}", {**create("x"), "compensate": undo})
    with pytest.raises(ConflictError) as full:
        await world.step(other, "more", {**create("x"), "compensate": undo})
    assert (full.value.details or {})["limit"] == 16 * 1024 * 1024
    assert len(await world.names()) == 16


async def test_steps_inside_of_others_are_counted_together(world: World) -> None:
    session = await world.begin()
    nothing = [
        {"step_name": f"n{number}", "type": "condition", "condition": True} for number in range(50)
    ]
    steps = [{"step_name": name, "type": "parallel", "steps": nothing} for name in ("a", "b")]
    with pytest.raises(InvalidArgumentsError, match="at most 100 steps"):
        await world.step(session, "nested", {"type": "sequence", "steps": steps})


async def test_an_atomic_list_tells_nothing_of_models_that_are_not_the_callers(
    world: World,
) -> None:
    """Of a model that could not take part no more than of one that is not there."""
    session = await world.begin(READER)
    told = []
    for name in ("Kept", "Gone"):
        steps = [{"step_name": "s", **create("x", name)}]
        with pytest.raises(NotFoundError) as refused:
            await world.step(
                session, "a", {"type": "sequence", "atomic": True, "steps": steps}, READER
            )
        told.append(refused.value.message.replace(name, "…"))
    assert told[0] == told[1]


async def test_a_step_takes_no_idempotency_key(world: World) -> None:
    session = await world.begin()
    arguments = {"data": {"name": "x"}, "_idempotency_key": "k"}
    with pytest.raises(InvalidArgumentsError) as refused:
        await world.step(
            session, "a", {"type": "tool", "tool": "Item_create", "arguments": arguments}
        )
    assert refused.value.field == "step_config.arguments._idempotency_key"
    assert await world.names() == []


async def test_all_steps_together_are_no_value(world: World) -> None:
    session = await world.begin()
    await world.result(session, "made", create("x"))
    with pytest.raises(InvalidArgumentsError) as refused:
        await world.step(session, "all", create("{{steps}}"))
    assert (refused.value.details or {})["available"] == ["made"]


async def test_what_nests_too_deeply_is_refused(world: World) -> None:
    session = await world.begin()
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InvalidArgumentsError) as refused:
        await world.step(session, "deep", create("x", note=deep))
    assert refused.value.field == "step_config"
    with pytest.raises(InvalidArgumentsError) as refused:
        await world.begin(deep=deep)
    assert refused.value.field == "session_config"
