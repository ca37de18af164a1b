from __future__ import annotations

import enum
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import count
from typing import Any, Literal, Optional
from uuid import UUID

import pytest
from dataflow import DataFlow

from kailash_mcp_prod.errors import ModelError
from kailash_mcp_prod.records.annotations import field_type_of
from kailash_mcp_prod.records.introspect import describe_model, parse_docstring
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.types import FieldType, Kind

NUMBERS = count(1)
URL = "sqlite:////nowhere/unopened.db"


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


class Rank(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    TEXT = "1"
    NUMBER = 1


class Broken(enum.Enum):
    HALF = 0.5


def described(
    dataflow: DataFlow, annotations: dict[str, Any], /, register: Any = None, **attributes: Any
) -> Model:
    """Register a new model of these fields and attributes, and describe it."""
    name = f"Probe{next(NUMBERS)}"
    members = {"__annotations__": annotations, "__module__": __name__, **attributes}
    (register or dataflow.model)(type(name, (), members))
    return describe_model(dataflow, name)


@contextmanager
def opened(**options: Any) -> Iterator[DataFlow]:
    """A DataFlow instance of these options; its database is never opened."""
    db = DataFlow(URL, enable_caching=False, enable_model_persistence=False, **options)
    yield db
    db.close()


def field(model: Model, name: str) -> Field:
    found = model.field(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, FieldType(Kind.TEXT)),
        (int, FieldType(Kind.INTEGER)),
        (float, FieldType(Kind.FLOAT)),
        (bool, FieldType(Kind.BOOLEAN)),
        (datetime, FieldType(Kind.DATETIME)),
        (date, FieldType(Kind.DATE)),
        (Decimal, FieldType(Kind.DECIMAL)),
        (UUID, FieldType(Kind.UUID)),
        (bytes, FieldType(Kind.BYTES)),
        (dict, FieldType(Kind.OBJECT)),
        (list, FieldType(Kind.ARRAY)),
        (Colour, FieldType(Kind.CHOICE, choices=("red", "green"))),
        (Rank, FieldType(Kind.CHOICE, choices=(1, 2))),
        (Literal["a", 2, True], FieldType(Kind.CHOICE, choices=("a", 2, True))),
        (list[str], FieldType(Kind.ARRAY, item=FieldType(Kind.TEXT))),
        (typing.List[int], FieldType(Kind.ARRAY, item=FieldType(Kind.INTEGER))),  # noqa: UP006
        (list[Any], FieldType(Kind.ARRAY)),
        (dict[str, Any], FieldType(Kind.OBJECT)),
        (dict[str, Decimal], FieldType(Kind.OBJECT, item=FieldType(Kind.DECIMAL))),
        (
            list[list[str | None]],
            FieldType(
                Kind.ARRAY, item=FieldType(Kind.ARRAY, item=FieldType(Kind.TEXT, nullable=True))
            ),
        ),
        (str | None, FieldType(Kind.TEXT, nullable=True)),
        (Optional[list[str]], FieldType(Kind.ARRAY, True, item=FieldType(Kind.TEXT))),  # noqa: UP045
        (None | Literal["a"], FieldType(Kind.CHOICE, True, choices=("a",))),
    ],
)
def test_supported_annotations_have_a_type(annotation: Any, expected: FieldType) -> None:
    assert field_type_of(annotation) == expected


UNSUPPORTED: list[Any] = [
    Any,
    int | str,
    int | str | None,
    object,
    complex,
    time,
    set,
    set[str],
    tuple,
    tuple[int, ...],
    frozenset[str],
    dict[int, str],
    list[int | str],
    dict[str, object],
    list[set[int]],
    Callable[[], int],
    type,
    None,
    Literal[None],
    Literal["1", 1],
    Mixed,
    Broken,
    Literal[b"x"],
    Exception,
]


@pytest.mark.parametrize("annotation", UNSUPPORTED, ids=str)
def test_an_unsupported_annotation_is_refused_with_model_and_field(
    dataflow: DataFlow, annotation: Any
) -> None:
    with pytest.raises(ModelError, match=r"^Model Probe\d+, field odd: the type .*Supported: str"):
        described(dataflow, {"id": str, "odd": annotation})


@pytest.mark.parametrize("name", ["database_url", "self", "found"])
def test_a_name_that_dataflow_needs_itself_is_refused(dataflow: DataFlow, name: str) -> None:
    with pytest.raises(ModelError, match=rf"Model Probe\d+, field {name}: .*Rename"):
        described(dataflow, {"id": str, name: str})


@pytest.mark.parametrize("name", ["größe", "a b", 'x" --', "x" * 64, "1x"])
def test_a_name_that_is_no_identifier_is_refused(dataflow: DataFlow, name: str) -> None:
    with pytest.raises((ModelError, ValueError), match=r"Model Probe\d+|identifier"):
        described(dataflow, {"id": str, name: str})


@pytest.mark.parametrize("key", [float, bool, datetime, UUID, Decimal, dict, str | None, Colour])
def test_a_key_that_is_no_text_and_no_whole_number_is_refused(dataflow: DataFlow, key: Any) -> None:
    with pytest.raises(ModelError, match="the key must be a str or an int"):
        described(dataflow, {"id": key, "name": str})


def test_a_default_of_none_needs_an_optional_type(dataflow: DataFlow) -> None:
    with pytest.raises(ModelError, match="field name: the default is None"):
        described(dataflow, {"id": str, "name": str}, name=None)


@pytest.mark.parametrize("pattern", ["(?=x)x", "(?!x)y", "(?<=x)y", r"(a)\1", "[unclosed", "(open"])
def test_a_pattern_that_can_not_be_run_in_bounded_time_is_refused(
    dataflow: DataFlow, pattern: str
) -> None:
    class Stub:
        """What DataFlow tells of a model; it refuses some of these patterns itself."""

        config = None
        model = type("Probe", (), {"__validation__": {"code": {"pattern": pattern}}})

        def list_models(self) -> list[str]:
            return ["Probe"]

        def get_model_fields(self, _: str) -> dict[str, dict[str, Any]]:
            return {"id": {"type": str}, "code": {"type": str, "required": True}}

        def get_model_info(self, _: str) -> dict[str, Any]:
            return {"class": self.model, "table_name": "probes"}

    with pytest.raises(ModelError, match="Model Probe, field code: the pattern"):
        describe_model(Stub(), "Probe")


def test_an_unknown_field_in_an_index_is_refused(dataflow: DataFlow) -> None:
    with pytest.raises(ModelError, match="index 'ix' names unknown fields: nope"):
        described(
            dataflow,
            {"id": str, "name": str},
            __dataflow__={"indexes": [{"name": "ix", "fields": ["name", "nope"]}]},
        )


def test_fields_have_types_defaults_and_descriptions(dataflow: DataFlow) -> None:
    model = described(
        dataflow,
        {"id": str, "name": str, "qty": int, "colour": Colour, "note": str | None, "tags": list},
        __doc__="Things. More of it.\n\nSecond paragraph.\n\nAttributes:\n    name: Its name.\n",
        qty=5,
        colour=Colour.GREEN,
        note=None,
        tags=[],
    )

    assert model.description == "Things. More of it."
    assert [each.name for each in model.fields] == [
        *("id", "name", "qty", "colour", "note", "tags", "created_at", "updated_at"),
    ]
    assert {each.name for each in model.fields if each.required} == {"name"}
    assert {each.name for each in model.fields if each.read_only} == {"created_at", "updated_at"}
    assert (field(model, "qty").default, field(model, "colour").default) == (5, "green")
    assert field(model, "name").description == "Its name."
    assert field(model, "qty").description == "Qty of the probe" + model.name[5:] + "."
    assert [each.name for each in model.writable] == ["name", "qty", "colour", "note", "tags"]
    first, second = (field(model, "tags").default_value() for _ in range(2))
    assert first == second == []
    assert first is not second


def test_an_undeclared_id_is_a_number_that_the_database_makes(dataflow: DataFlow) -> None:
    model = described(dataflow, {"name": str})

    assert model.key.type == FieldType(Kind.INTEGER)
    assert model.generates_key


def test_an_optional_field_without_a_default_is_required_and_not_null(dataflow: DataFlow) -> None:
    nick = field(described(dataflow, {"id": str, "nick": str | None}), "nick")

    assert nick.required
    assert not nick.type.nullable


def test_declared_timestamps_stay_read_only(dataflow: DataFlow) -> None:
    model = described(
        dataflow, {"id": str, "name": str, "created_at": datetime, "updated_at": datetime}
    )

    assert [each.name for each in model.fields] == ["id", "name", "created_at", "updated_at"]
    assert [each.name for each in model.writable] == ["name"]


TENANT_INDEXES: list[dict[str, Any]] = [
    {"name": "uq_email", "fields": ["tenant_id", "email"], "unique": True},
    {"name": "uq_badge", "fields": ["badge"], "unique": True},
    {"name": "uq_both", "fields": ["badge", "tenant_id"], "unique": True},
    {"name": "ix_tenant", "fields": ["tenant_id"]},
    {"name": "uq_tenant", "fields": ["tenant_id"], "unique": True},
]


def assert_is_tenants(model: Model) -> None:
    assert model.tenant is not None
    assert (model.tenant.name, model.tenant.type) == ("tenant_id", FieldType(Kind.TEXT))
    assert model.tenant.required
    assert model.tenant.read_only
    assert "tenant_id" not in {each.name for each in model.fields}
    assert model.other_options == ()


@pytest.mark.parametrize(
    "declared", [{}, {"tenant_id": str}, {"tenant_id": str | None}], ids=["no", "str", "optional"]
)
def test_the_tenant_of_a_model_is_a_hidden_field(
    dataflow: DataFlow, declared: dict[str, Any]
) -> None:
    options = {"multi_tenant": True, "indexes": TENANT_INDEXES}
    model = described(
        dataflow, {"id": str, **declared, "email": str, "badge": str}, __dataflow__=options
    )

    assert_is_tenants(model)
    assert model.unique_keys == (("id",), ("email",), ("badge",))
    assert model.unique_indexes["uq_email"] == ("tenant_id", "email")
    assert model.indexes["ix_tenant"] == ("tenant_id",)
    assert list(model.indexes) == [index["name"] for index in TENANT_INDEXES]


def test_all_models_of_a_multi_tenant_instance_have_a_tenant() -> None:
    with opened(multi_tenant=True) as db:
        assert_is_tenants(described(db, {"id": str, "name": str}))
        assert_is_tenants(described(db, {"name": str}, __dataflow__={"multi_tenant": False}))
        assert_is_tenants(described(db, {"id": str, "tenant_id": str}))


def test_a_tenant_that_is_no_text_is_refused(dataflow: DataFlow) -> None:
    with pytest.raises(ModelError, match=r"Model Probe\d+, field tenant_id: the tenant must be"):
        described(dataflow, {"id": str, "tenant_id": int}, __dataflow__={"multi_tenant": True})


def test_without_the_option_a_tenant_is_a_field_like_others(dataflow: DataFlow) -> None:
    options = {"indexes": [{"fields": ["tenant_id", "name"], "unique": True}]}
    model = described(dataflow, {"id": str, "tenant_id": str, "name": str}, __dataflow__=options)

    assert model.tenant is None
    assert field(model, "tenant_id").required
    assert model.unique_keys == (("id",), ("tenant_id", "name"))


def test_a_key_on_the_time_of_deletion_is_none_for_callers(dataflow: DataFlow) -> None:
    options = {
        "soft_delete": True,
        "indexes": [{"name": "uq_live", "fields": ["name", "deleted_at"], "unique": True}],
    }
    model = described(dataflow, {"id": str, "name": str}, __dataflow__=options)

    assert model.unique_keys == (("id",),)
    assert model.unique_indexes == {"uq_live": ("name", "deleted_at")}


def test_an_index_name_that_postgresql_would_cut_off_is_shortened(dataflow: DataFlow) -> None:
    long = {"name": "x" * 70, "fields": ["name"], "unique": True}
    other = {"name": "x" * 70 + "y", "fields": ["qty"]}
    model = described(
        dataflow, {"id": str, "name": str, "qty": int}, __dataflow__={"indexes": [long, other]}
    )

    assert {len(name) for name in model.indexes} == {63}
    assert list(model.indexes.values()) == [("name",), ("qty",)]


def test_an_index_name_that_is_no_identifier_is_refused(dataflow: DataFlow) -> None:
    index = {"name": 'ix" ON x', "fields": ["name"]}
    with pytest.raises(ModelError, match="the index 'ix\" on x' must be letters"):
        described(dataflow, {"id": str, "name": str}, __dataflow__={"indexes": [index]})


@pytest.mark.parametrize("table", ["mcp_api_keys", "MCP_anything"])
def test_tables_of_the_servers_own_are_for_no_model(dataflow: DataFlow, table: str) -> None:
    with pytest.raises(ModelError, match="mcp_"):
        described(dataflow, {"id": str, "name": str}, __tablename__=table)


def test_unique_indexes_are_unique_keys(dataflow: DataFlow) -> None:
    model = described(
        dataflow,
        {"id": str, "a": str, "b": int, "c": str | None},
        c=None,
        __tablename__="things",
        __dataflow__={
            "indexes": [
                {"name": "UQ_Things_AB", "fields": ["a", "b"], "unique": True},
                {"fields": ["c"], "unique": True},
                {"fields": ["c", "a"], "unique": True},
                {"name": "ix", "fields": ["b"]},
            ]
        },
    )

    assert model.table == "things"
    assert model.unique_keys == (("id",), ("a", "b"), ("c",), ("c", "a"))
    assert list(model.unique_indexes) == ["uq_things_ab", "idx_things_c", "idx_things_c_c_a"]
    assert model.indexes == {**model.unique_indexes, "ix": ("b",)}


def test_options_of_a_model_are_read(dataflow: DataFlow) -> None:
    soft = described(dataflow, {"id": str, "a": str}, __dataflow__={"soft_delete": True})
    ledger = described(dataflow, {"id": str, "a": str}, dataflow.model(append_only=True))

    assert (soft.soft_delete, soft.append_only) == (True, False)
    assert (ledger.soft_delete, ledger.append_only) == (False, True)
    assert soft.field("deleted_at") is None


def test_rules_of_a_model_are_read(dataflow: DataFlow) -> None:
    model = described(
        dataflow,
        {"id": str, "code": str, "size": str, "share": float, "mail": str},
        __validation__={
            "code": {"pattern": "[A-Z]{2}|x", "min_length": 1, "max_length": 9},
            "size": {"one_of": ["S", "M"], "custom": str.isupper},
            "share": {"range": {"min": 0, "max": 1}},
            "mail": {"validators": ["email"], "pattern": "^.+@.+$"},
        },
    )

    code, size, share, mail = (
        field(model, name).constraints for name in ("code", "size", "share", "mail")
    )
    assert (code.pattern, code.min_length, code.max_length) == ("^(?:[A-Z]{2}|x)$", 1, 9)
    assert size.one_of == ("S", "M")
    assert [check("x") for _, check in size.checks] == [False]
    assert (share.minimum, share.maximum) == (0, 1)
    assert mail.pattern == "^.+@.+$"
    assert [name for name, _ in mail.checks] == ["email"]


DOCSTRING = """A thing that is sold
over the counter.

It has parts, too.

Attributes:
    id: The key.
    name (str): The name,
        which may take
        two lines: or three.
    empty:

    note: After a blank line.

Example:
    other: no attribute.
"""


def test_the_docstring_gives_summary_and_attributes() -> None:
    summary, attributes = parse_docstring(DOCSTRING)

    assert summary == "A thing that is sold over the counter."
    assert attributes == {
        "id": "The key.",
        "name": "The name, which may take two lines: or three.",
        "empty": "",
        "note": "After a blank line.",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", {})),
        ("One line.", ("One line.", {})),
        ("Attributes:\n    a: A.", ("", {"a": "A."})),
        ("Fields.\n\nFields:\n  a: A.\n  b: B.", ("Fields.", {"a": "A.", "b": "B."})),
    ],
)
def test_other_docstrings_are_read(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_docstring(text) == expected
