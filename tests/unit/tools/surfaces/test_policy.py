"""What is seen, what is found and what can be called are the same, on every surface."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.tools.service import ToolService
from tests.unit.tools.conftest import Reference

MODELS = ("Company", "Quote", "ClassificationHistory")
OPERATIONS = (
    "create",
    "read",
    "update",
    "delete",
    "list",
    "bulk_create",
    "bulk_update",
    "bulk_delete",
    "bulk_upsert",
)
NAMES = [f"{model}_{operation}" for model in MODELS for operation in OPERATIONS]
GRANTS = st.one_of(
    st.builds(
        "{}:{}".format,
        st.sampled_from(("*", *MODELS)),
        st.sampled_from(("*", "write", *OPERATIONS)),
    ),
    st.sampled_from([f"tool:{name}" for name in NAMES]),
    st.just("*"),
)
SHORTCUTS = {
    "list": ("find_records", {}),
    "read": ("get_record", {"id": ""}),
    "create": ("create_record", {"data": {"nope": 1}}),
    "update": ("update_record", {"id": "", "data": {}}),
    "delete": ("delete_record", {"id": ""}),
    **{
        f"bulk_{each}": ("bulk_write", {"action": each})
        for each in ("create", "update", "delete", "upsert")
    },
}
WRONG: dict[str, Any] = {"nope": 1}


@pytest.fixture(scope="module")
def service(reference: Reference) -> ToolService:
    return reference.service()


async def refused(
    service: ToolService, principal: Principal, surface: str, name: str, arguments: dict[str, Any]
) -> ServerError | None:
    try:
        await service.call(principal, name, arguments, request_id="r", surface=surface)
    except ServerError as error:
        return error
    return None


async def reaches(
    service: ToolService, principal: Principal, surface: str, name: str, arguments: dict[str, Any]
) -> bool:
    """Whether a call gets as far as the checks of the record tool's own arguments."""
    error = await refused(service, principal, surface, name, arguments)
    return isinstance(error, InvalidArgumentsError) and error.field not in {
        "model",
        "action",
        "name",
    }


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(grants=st.frozensets(GRANTS, max_size=5))
async def test_visible_is_found_is_callable(service: ToolService, grants: frozenset[str]) -> None:
    principal = Principal("p", grants)
    listed = {each["name"] for each in json.loads(service.encoded_list(principal).body)}
    compact = {
        each["name"]: each["inputSchema"]["properties"]
        for each in json.loads(service.encoded_list(principal, "compact").body)
    }
    for name in NAMES:
        model, _, operation = name.partition("_")
        visible = name in listed
        shortcut, arguments = SHORTCUTS[operation]
        properties = compact.get(shortcut, {})
        shown = model in properties.get("model", {}).get("enum", [])
        given_to_any = {"name": name, "arguments": WRONG}
        found = await service.call(
            principal,
            "search_tools",
            {"query": name, "limit": 20},
            request_id="r",
            surface="search",
        )
        described = await refused(service, principal, "search", "describe_tool", {"name": name})
        through = {"model": model, **arguments, "filter": {"nope": 1}}
        through = {
            key: value for key, value in through.items() if not properties or key in properties
        }

        assert (name in {each["name"] for each in found["tools"]}) is visible
        assert (described is None) is visible
        assert await reaches(service, principal, "full", name, WRONG) is visible
        assert await reaches(service, principal, f"models/{model}", name, WRONG) is visible
        assert not await reaches(service, principal, "models/User", name, WRONG)
        for surface in ("search", "compact"):
            assert await reaches(service, principal, surface, "call_tool", given_to_any) is visible
        assert await reaches(service, principal, "compact", shortcut, through) is visible
        if visible or not operation.startswith("bulk"):
            assert shown is visible
