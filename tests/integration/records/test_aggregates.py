"""Groups and measures mean what the values do, on every database and by either way to it."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.records import pages
from kailash_mcp_prod.records.sql import grouping
from tests.integration.records.test_tenants import fill, tenant
from tests.integration.records.trap_app import Json, TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODEL = "TrapMatter"


def matter(number: int, **values: Any) -> Json:
    return {
        "id": f"r{number}",
        "level": 0,
        "label": "x",
        "price": "1",
        "kind": "a",
        **values,
    }


async def insert(app: TrapApp, *rows: Json) -> None:
    data = [matter(number, **row) for number, row in enumerate(rows)]
    await app.call(MODEL, "bulk_create", data=data)


async def groups(app: TrapApp, **asked: Any) -> list[Json]:
    found: list[Json] = (await app.call(MODEL, "aggregate", **asked))["groups"]
    return found


async def test_without_group_by_everything_is_one_group(app: TrapApp) -> None:
    measures: Json = {"sum": ["price", "whole"], "avg": ["real"], "count_distinct": ["text"]}
    nothing = await app.call(MODEL, "aggregate", **measures)
    await insert(app, {"text": "a"}, {"text": "a", "whole": 1})
    counted = await app.call(MODEL, "aggregate")
    some = await groups(app, sum=["whole"], count_distinct=["text"], filter={"text": "a"})

    assert nothing["groups"] == [
        {
            "by": {},
            "count": 0,
            "sum": {"price": None, "whole": None},
            "avg": {"real": None},
            "count_distinct": {"text": 0},
        }
    ]
    assert (nothing["count"], nothing["more"]) == (1, False)
    assert counted == {"groups": [{"by": {}, "count": 2}], "count": 1, "more": False}
    assert some == [{"by": {}, "count": 2, "sum": {"whole": 1}, "count_distinct": {"text": 1}}]


async def test_groups_of_nothing_are_none(app: TrapApp) -> None:
    assert await app.call(MODEL, "aggregate", group_by=["text"], sum=["price"]) == {
        "groups": [],
        "count": 0,
        "more": False,
    }


async def test_decimals_are_exact_and_the_same_however_they_are_written(app: TrapApp) -> None:
    large, small = (
        "12345678901234567890123456789012345678",
        "0.1234567890123456789012345678901234567",
    )
    await insert(app, *({"price": each} for each in ("1.5", "1.50", "9", "10", "-0.5")))
    await insert_more(app, ({"price": large, "amount": large}, {"price": small, "amount": small}))

    prices = [each["by"]["price"] for each in await groups(app, group_by=["price"])]
    [found] = await groups(
        app, sum=["amount"], avg=["amount"], min=["price"], max=["price"], count_distinct=["price"]
    )
    [third] = await groups(app, filter={"id": {"$in": ["r0", "r2", "r3"]}}, avg=["price"])

    assert prices == ["-0.5", small, "1.50", "9", "10", large]
    assert found["sum"]["amount"] == f"{large}.{small[2:]}"
    places = len(small) - 2
    half = f"6172839450617283945061728394506172839.{small[2:]}"
    assert found["avg"]["amount"].startswith(half[:38])
    assert len(found["avg"]["amount"].partition(".")[2]) == places + 1
    assert found["min"]["price"] == "-0.5".ljust(places + 3, "0")
    assert found["max"]["price"] == f"{large}.{'0' * places}"
    assert found["count_distinct"]["price"] == 6
    assert third["avg"]["price"] == "6.8333333"


async def insert_more(app: TrapApp, rows: tuple[Json, ...]) -> None:
    data = [matter(100 + number, **row) for number, row in enumerate(rows)]
    await app.call(MODEL, "bulk_create", data=data)


async def test_an_average_is_rounded_half_away_from_zero(app: TrapApp) -> None:
    await insert(app, {"price": "0.000001"}, *({"price": "0"} for _ in range(1)))
    [up] = await groups(app, avg=["price"])
    await app.call(MODEL, "bulk_update", filter={"id": "r0"}, data={"price": "-10.00"})
    await insert_more(app, ({"price": "-10.00"}, {"price": "-10.00"}))
    [down] = await groups(app, avg=["price"])
    [money] = await groups(app, avg=["price"], filter={"price": -10})

    assert up["avg"]["price"] == "0.0000005"
    assert down["avg"]["price"] == "-7.50"
    assert money["avg"]["price"] == "-10.00"


async def test_whole_numbers_do_not_overflow_and_floats_stay_floats(app: TrapApp) -> None:
    await insert(app, *({"whole": 2**31 - 1, "real": each} for each in (0.1, 0.2, -0.0, 1e30)))

    [found] = await groups(app, sum=["whole", "real"], avg=["whole"], filter={"real": {"$lt": 1}})
    reals = await groups(app, group_by=["real"])

    assert found["sum"]["whole"] == 3 * (2**31 - 1)
    assert found["avg"]["whole"] == 2**31 - 1
    assert isinstance(found["avg"]["whole"], float)
    assert found["sum"]["real"] == pytest.approx(0.3, rel=1e-12)
    assert [str(each["by"]["real"]) for each in reals] == ["0.0", "0.1", "0.2", "1e+30"]


async def test_what_others_wrote_is_grouped_by_its_meaning(app: TrapApp) -> None:
    await insert(app, *({} for _ in range(6)))
    instants = {
        "sqlite": [
            "2026-03-01 11:30:00+02:00",
            "2026-03-01T09:30:00.000Z",
            "2026-03-01 09:30:00.5",
        ],
        "postgresql": ["2026-03-01 09:30:00", "2026-03-01 09:30:00.000", "2026-03-01 09:30:00.5"],
    }[app.dialect]
    for number, (moment, amount) in enumerate(
        zip(instants, ["1E+2", "100.0", "3e-1"], strict=True)
    ):
        app.tables.execute(
            f"UPDATE trap_matters SET moment = '{moment}', amount = '{amount}' "
            f"WHERE id = 'r{number}'"
        )

    by_moment = await groups(app, group_by=["moment"], sum=["amount"])
    by_amount = await groups(app, group_by=["amount"], min=["moment"], max=["moment"])

    half_past = "2026-03-01T09:30:00+00:00"
    later = "2026-03-01T09:30:00.500000+00:00"
    assert [(each["by"]["moment"], each["count"]) for each in by_moment] == [
        (half_past, 2),
        (later, 1),
        (None, 3),
    ]
    assert [each["sum"]["amount"] for each in by_moment] == ["200.0", "0.3", None]
    assert [(each["by"]["amount"], each["min"]["moment"]) for each in by_amount] == [
        ("0.3", later),
        ("100.0", half_past),
        (None, None),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        *({function: ["amount"]} for function in ("sum", "avg", "min", "max")),
        {"group_by": ["amount"]},
    ],
)
async def test_a_stored_text_that_is_no_number_is_not_passed_over(
    app: TrapApp, asked: Json
) -> None:
    await insert(app, {"amount": "1"}, {"amount": "2"})
    app.tables.execute("UPDATE trap_matters SET amount = 'much' WHERE id = 'r1'")

    with pytest.raises(ServerError) as refused:
        await app.call(MODEL, "aggregate", **asked)

    assert "much" not in refused.value.message


async def test_groups_are_in_the_order_that_was_asked_for_and_nulls_are_last(app: TrapApp) -> None:
    await insert(
        app,
        {"text": "b", "price": "1"},
        {"text": None, "price": "50", "whole": 5},
        {"text": "a", "price": "2"},
        {"text": "b", "price": "1", "whole": 3},
        {"text": "A", "price": "2.0"},
    )

    async def texts(*sort: str, **more: Any) -> list[Any]:
        asked: Json = {"sum": ["price", "whole"], "group_by": ["text"], "sort": list(sort)}
        return [each["by"]["text"] for each in await groups(app, **asked, **more)]

    assert await texts() == ["A", "a", "b", None]
    assert await texts("-text") == ["b", "a", "A", None]
    assert await texts("-count") == ["b", "A", "a", None]
    assert await texts("-sum.price", "-by.text") == [None, "b", "a", "A"]
    assert await texts("sum.whole") == ["b", None, "A", "a"]
    assert await texts("-sum.whole") == [None, "b", "A", "a"]
    assert await texts("-count", limit=2) == ["b", "A"]
    page = await app.call(MODEL, "aggregate", group_by=["text"], limit=4)
    assert (page["count"], page["more"]) == (4, False)
    page = await app.call(MODEL, "aggregate", group_by=["text"], limit=3)
    assert (page["count"], page["more"]) == (3, True)


async def test_groups_that_are_too_large_for_an_answer_end_it_early(
    app: TrapApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pages, grouping):
        monkeypatch.setattr(module, "MAX_PAGE_BYTES", 100)
    await insert(app, *({"text": letter * 45, "label": "l"} for letter in "abcd"))
    asked: Json = {"group_by": ["text"], "max": ["label"], "limit": 4}

    page = await app.call(MODEL, "aggregate", **asked)
    rest = await app.call(MODEL, "aggregate", **asked, filter={"text": {"$gt": "c"}})
    await app.call(MODEL, "bulk_update", filter={"id": "r0"}, data={"text": "a" * 101})

    assert [each["by"]["text"][0] for each in page["groups"]] == ["a", "b"]
    assert (page["count"], page["more"]) == (2, True)
    assert (rest["count"], rest["more"]) == (2, False)
    with pytest.raises(InvalidArgumentsError) as refused:
        await app.call(MODEL, "aggregate", **asked)
    assert refused.value.field == "group_by"


async def test_deleted_records_are_in_no_group(app: TrapApp) -> None:
    made = await app.call(
        "TrapVault", "bulk_create", data=[{"shelf": "a", "slot": slot} for slot in range(3)]
    )
    await app.call("TrapVault", "delete", id=made["ids"][2])

    found = await app.call("TrapVault", "aggregate", group_by=["shelf"], max=["slot"])

    assert found["groups"] == [{"by": {"shelf": "a"}, "count": 2, "max": {"slot": 1}}]


async def test_records_of_other_tenants_are_in_no_group(app: TrapApp) -> None:
    for scope in await fill(app):
        asked: Json = {"count_distinct": ["email"], "sum": ["visits"]}
        [found] = (await app.call("TrapGuest", "aggregate", scope=scope, **asked))["groups"]
        by_name = await app.call("TrapGuest", "aggregate", scope=scope, group_by=["name"])

        assert found["count"] == found["count_distinct"]["email"] == found["sum"]["visits"] == 3
        assert by_name["count"] == 1
    stranger = tenant(app, "nobody")
    assert (await app.call("TrapGuest", "aggregate", scope=stranger))["groups"][0]["count"] == 0
    refused = await app.refusal("TrapGuest", "aggregate", scope=stranger, group_by=["tenant_id"])
    assert refused.field == "group_by[0]"


REFUSED: list[tuple[Json, str]] = [
    ({"sort": ["text"]}, "sort[0]"),
    ({"sort": ["-count", "sum.price"], "avg": ["price"]}, "sort[1]"),
    ({"sort": ["count", "-count"]}, "sort[1]"),
    ({"group_by": ["text"], "sort": ["text", "by.text"]}, "sort[1]"),
    ({"group_by": ["text; DROP"]}, "group_by[0]"),
    ({"group_by": ["created_at", "created_at"]}, "group_by"),
    ({"sum": ["text"]}, "sum[0]"),
    ({"filter": {"nope": 1}}, "filter.nope"),
    ({"min": ["price"], "having": {}}, "having"),
    (
        {
            "sum": ["price", "amount", "whole", "real", "level"],
            "avg": ["price", "amount", "whole", "real", "level"],
            "min": ["price", "amount", "whole", "real", "level"],
            "max": ["price", "amount", "whole", "real", "level", "text"],
        },
        "max",
    ),
]


@pytest.mark.parametrize(("asked", "field"), REFUSED)
async def test_what_makes_no_sense_is_refused(app: TrapApp, asked: Json, field: str) -> None:
    error = await app.refusal(MODEL, "aggregate", **asked)

    assert isinstance(error, InvalidArgumentsError)
    assert error.field == field


async def test_a_refused_order_says_what_can_be_sorted_by(app: TrapApp) -> None:
    asked: Json = {"group_by": ["text"], "sum": ["price"], "sort": ["-sum.whole"]}

    error = await app.refusal(MODEL, "aggregate", **asked)

    assert error.details == {"choices": ["count", "sum.price", "text"]}


async def test_every_field_of_a_hostile_name_can_be_grouped_by(app: TrapApp) -> None:
    await app.call("TrapKeyword", "bulk_create", data=[{"excluded": "a"}, {"excluded": "b"}])
    names = list(app.models["TrapKeyword"].types)
    for start in range(0, len(names), 5):
        some = names[start : start + 5]
        asked: Json = {"group_by": some, "count_distinct": some}
        found = await app.call("TrapKeyword", "aggregate", **asked, sort=[f"-by.{some[0]}"])
        assert sum(each["count"] for each in found["groups"]) == 2
