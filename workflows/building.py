"""Builds the workflows; what their nodes do stands in the modules named there."""

from __future__ import annotations

from typing import Any


def _procedure(node: str, function: str) -> Any:
    from kailash.workflow.builder import WorkflowBuilder

    import kailash_mcp_prod.sessions.procedure_node  # noqa: F401 - makes the node known

    builder = WorkflowBuilder()
    builder.add_node("MCPProcedureNode", node, {"procedure": function})
    return builder


def onboard_customer() -> Any:
    """See `workflows.onboarding`."""
    return _procedure("onboard", "workflows.onboarding:onboard")


def create_quote() -> Any:
    """See `workflows.quotes`."""
    return _procedure("create", "workflows.quotes:create")


def price_quote() -> Any:
    """See `workflows.quotes`."""
    return _procedure("price", "workflows.quotes:price")


def approve_quote() -> Any:
    """See `workflows.quotes`."""
    return _procedure("approve", "workflows.quotes:approve")


def classify_product() -> Any:
    """See `workflows.classification`."""
    return _procedure("classify", "workflows.classification:classify")


def judge_classification() -> Any:
    """See `workflows.classification`."""
    return _procedure("judge", "workflows.classification:judge")


def enqueue_document() -> Any:
    """The document is read first: no task is queued for one that is not there."""
    from kailash.workflow.builder import WorkflowBuilder

    import kailash_mcp_prod.sessions.procedure_node
    import kailash_mcp_prod.sessions.tool_node  # noqa: F401 - makes the node known

    builder = WorkflowBuilder()
    builder.add_node(
        "MCPToolNode",
        "document",
        {"tool": "Document_read", "arguments": {"id": "{{document_id}}"}},
    )
    builder.add_node("MCPProcedureNode", "enqueue", {"procedure": "workflows.documents:enqueue"})
    builder.add_connection("document", "result", "enqueue", "document")
    return builder


def claim_document() -> Any:
    """See `workflows.documents`."""
    return _procedure("claim", "workflows.documents:claim")


def complete_document() -> Any:
    """See `workflows.documents`."""
    return _procedure("complete", "workflows.documents:complete")


def fail_document() -> Any:
    """See `workflows.documents`."""
    return _procedure("fail", "workflows.documents:fail")
