"""What every client must see of the reference application, whatever way it comes."""

from __future__ import annotations

import json
from typing import Any

MODELS = (
    "Company",
    "User",
    "Customer",
    "Quote",
    "ProductClassification",
    "ClassificationHistory",
    "ClassificationCache",
    "ClassificationRule",
    "ClassificationFeedback",
    "ETIMAttribute",
    "ClassificationMetrics",
    "Document",
    "DocumentProcessingQueue",
)
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
UTILITIES = ["get_dataflow_models_info"]
AGENTS = [
    "create_agent_session",
    "get_agent_session",
    "list_agent_sessions",
    "get_agent_context",
    "update_agent_context",
    "end_agent_session",
    "enable_agent_collaboration",
    "respond_to_invitation",
    "list_collaborations",
    "leave_collaboration",
    "write_blackboard",
    "read_blackboard",
    "send_agent_message",
    "read_agent_messages",
    "acquire_lease",
    "release_lease",
]
READ_BY_AGENTS = {
    "get_agent_session",
    "list_agent_sessions",
    "get_agent_context",
    "list_collaborations",
    "read_blackboard",
}
"""Those of them that change nothing."""
WORKFLOWS = [
    "create_agent_workflow_session",
    "execute_workflow_step",
    "get_workflow_session_status",
    "cleanup_workflow_sessions",
]
MONITORS = [
    "get_server_metrics",
    "get_integration_metrics",
    "get_available_tools",
    "health_check",
]
ALL_TOOLS = [*NAMES, *UTILITIES, *AGENTS, *WORKFLOWS, *MONITORS]

ID = {"$ref": [0, "id"]}
CALLS: list[Any] = [
    ["Company_create", {"data": {"name": "Nordlicht GmbH", "annual_revenue": "1234567.80"}}],
    ["Company_read", {"id": ID}],
    ["Company_update", {"id": ID, "data": {"city": "Kiel"}, "expected": {"city": None}}],
    ["Company_list", {"filter": {"id": ID}, "fields": ["id", "name", "city"]}],
    ["Company_create", {"data": {"name": "Broken", "employee_count": "many"}}],
    ["Company_delete", {"id": ID}],
    ["Company_read", {"id": ID}],
]
"""One life of a company, in the form of `tests/interop/sequence.py`, with two mistakes."""


def assert_company_lived(results: list[dict[str, Any]]) -> None:
    """Assert that `CALLS` had the results they must have, both as structure and as text."""
    assert [each["is_error"] for each in results] == [False] * 4 + [True, False, True]
    for each in results:
        assert json.loads(each["text"]) == each["structured"]
    created, read, updated, listed, invalid, deleted, missing = (
        each["structured"] for each in results
    )
    assert created["name"] == "Nordlicht GmbH"
    assert created["annual_revenue"] == "1234567.80"
    assert created["default_currency"] == "EUR"
    assert read == created
    unchanged = read.keys() - {"city", "updated_at"}
    assert {key: updated[key] for key in unchanged} == {key: read[key] for key in unchanged}
    assert updated["city"] == "Kiel"
    expected = {"id": created["id"], "name": "Nordlicht GmbH", "city": "Kiel"}
    assert (listed["records"], listed["count"]) == ([expected], 1)
    assert invalid["error"]["code"] == "invalid_arguments"
    assert invalid["error"]["field"] == "data.employee_count"
    assert deleted == {"id": created["id"], "deleted": True}
    assert missing["error"]["code"] == "not_found"
