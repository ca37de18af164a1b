"""Reference workflows over the reference application: `workflows:registry`.

Each is a plain Kailash workflow, made by a function of its module. The server finds them as
`--workflows workflows:registry`, which is its default, and workflow sessions run them by name.
Importing this package imports neither Kailash nor the models.
"""

from __future__ import annotations

from kailash_mcp_prod import WorkflowRegistry
from workflows import building
from workflows.onboarding import ONBOARDING_STEPS

registry = WorkflowRegistry()

registry.add_workflow(
    "onboard_customer",
    building.onboard_customer,
    description="Makes a customer of a company, once, and finds who looks after it.",
    required=("company_id", "name"),
    optional=("customer_number", "tax_id", "email", "segment", "account_manager_id"),
    output="onboard.result",
)
registry.add_workflow(
    "create_quote",
    building.create_quote,
    description="Drafts a quote with exact totals.",
    required=("customer_id", "quote_number", "line_items"),
    optional=("title", "owner_id", "discount_percent", "tax_percent"),
    output="create.result",
)
registry.add_workflow(
    "price_quote",
    building.price_quote,
    description="Prices a draft anew.",
    required=("quote_id",),
    optional=("line_items", "discount_percent", "tax_percent"),
    output="price.result",
)
registry.add_workflow(
    "approve_quote",
    building.approve_quote,
    description="Sends a draft whose customer may buy for so much.",
    required=("quote_id",),
    optional=("valid_days",),
    output="approve.result",
)
registry.add_workflow(
    "classify_product",
    building.classify_product,
    description="Finds the ETIM class of a product: by cache, rules, history, and a model if any.",
    required=("product_code", "product_name", "manufacturer"),
    optional=("product_description", "company_id"),
    output="classify.result",
)
registry.add_workflow(
    "judge_classification",
    building.judge_classification,
    description="Takes a person's judgement, and mends the classification by it.",
    required=("classification_id", "submitted_by_id", "verdict"),
    optional=("suggested_class", "remarks"),
    output="judge.result",
)
registry.add_workflow(
    "enqueue_document",
    building.enqueue_document,
    description="Queues a task for a document.",
    required=("document_id", "processing_task"),
    optional=("priority",),
    output="enqueue.result",
)
registry.add_workflow(
    "claim_document",
    building.claim_document,
    description="Gives a worker the next task, for as long as its lease holds.",
    required=("worker_id",),
    optional=("lease_seconds", "processing_task"),
    output="claim.result",
)
registry.add_workflow(
    "complete_document",
    building.complete_document,
    description="Ends a task that the worker holds, with its output.",
    required=("task_id", "worker_id"),
    optional=("task_output",),
    output="complete.result",
)
registry.add_workflow(
    "fail_document",
    building.fail_document,
    description="Gives a task back that could not be done; after its last attempt it has failed.",
    required=("task_id", "worker_id", "error_message"),
    output="fail.result",
)

registry.add_template("customer_onboarding", ONBOARDING_STEPS)

__all__ = ["registry"]
