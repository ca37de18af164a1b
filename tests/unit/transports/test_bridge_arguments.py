from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.transports.bridge_arguments import ToolHeaders, header_paths
from kailash_mcp_prod.transports.bridge_http import Endpoint
from tests.unit.transports.conftest import META, rpc


def marked(header: Any, kind: Any = "string") -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": header}


def of_properties(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_marks_are_found_below_properties() -> None:
    schema = of_properties(
        a=marked("A"),
        b=of_properties(c=marked("B-c", "integer")),
        d={"default": {"x-mcp-header": "none"}},
    )

    assert header_paths(schema) == {"A": ("a",), "B-c": ("b", "c")}
    assert header_paths(True) == header_paths({"properties": {"x-mcp-header": {}}}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        of_properties(a=marked("")),
        of_properties(a=marked("A b")),
        of_properties(a=marked("A\r\nB: c")),
        of_properties(a=marked("Ä")),
        of_properties(a=marked(5)),
        of_properties(a=marked("A", "number")),
        of_properties(a=marked("A", "object")),
        of_properties(a=marked("A", ["string", "null"])),
        of_properties(a={"x-mcp-header": "A"}),
        of_properties(a=marked("A"), b=marked("a")),
        of_properties(a={"type": "array", "items": marked("A")}),
        of_properties(a={"anyOf": [marked("A")]}),
        {"$defs": {"a": marked("A")}},
        marked("A"),
    ],
)
def test_a_mark_that_breaks_a_rule_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="header"):
        header_paths(schema)


def test_nested_without_end_is_only_long() -> None:
    schema: dict[str, Any] = marked("Deep")
    for _ in range(5000):
        schema = of_properties(a=schema)

    assert len(header_paths(schema)["Deep"]) == 5000


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("us-west1", "us-west1"),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("a\nb", "=?base64?YQpi?="),
        (-7, "-7"),
        (True, "true"),
        (False, "false"),
        (None, None),
        (["a"], None),
    ],
)
def test_values_go_into_headers_as_text(value: Any, header: str | None) -> None:
    headers = ToolHeaders(Endpoint("http://127.0.0.1:1/mcp", {}))
    listed = (
        b'{"id":1,"result":{"tools":[{"name":"t","inputSchema":{"properties":'
        b'{"a":{"type":"string","x-mcp-header":"A"}}}}]}}'
    )
    assert headers.take(listed) is listed

    call = rpc("tools/call", name="t", arguments={"a": value}, _meta=META)
    assert headers.of(call) == ({} if header is None else {"Mcp-Param-A": header})
    assert headers.of(rpc("tools/call", name="t", arguments={"a": value})) == {}
    assert headers.of(rpc("tools/call", name="u", arguments={"a": value}, _meta=META)) == {}
