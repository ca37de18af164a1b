"""A Nexus app with authentication, models and three workflows, and MCP for agents.

    kailash-mcp-prod serve --mode nexus-integration --nexus examples.nexus_app:app --port 8000

or, as any Nexus app, `python examples/nexus_app.py`. Nexus signs and checks the tokens with
`NEXUS_JWT_SECRET`; what a user may do stands in its token.
"""

import os

from dataflow import DataFlow
from kailash.workflow.builder import WorkflowBuilder
from nexus import Nexus

from kailash_mcp_prod import NexusAuth, enhance_nexus_with_mcp

os.environ.setdefault("NEXUS_JWT_SECRET", "only-for-trying-this-out-change-it-at-once")

db = DataFlow(os.environ.get("DATABASE_URL", "sqlite:///nexus_app.db"), auto_migrate=True)


@db.model
class Order:
    """An order of a customer."""

    id: str
    customer: str
    amount: float
    paid: bool = False


app = Nexus(enable_auth=True, auto_discovery=False)


@app.handler("greet", description="Greets somebody.")
async def greet(name: str, greeting: str = "Hello") -> dict:
    return {"message": f"{greeting}, {name}!"}


@app.handler("discount", description="The price of an order after a discount.")
async def discount(amounts: list[float], percent: float = 10) -> dict:
    total = sum(amounts)
    return {"total": total, "to_pay": round(total * (1 - percent / 100), 2)}


totals = WorkflowBuilder()
totals.add_node("PythonCodeNode", "sum", {"code": "result = sum(parameters['amounts'])"})
app.register(
    "total",
    totals.build(),
    metadata={"description": "Adds amounts.", "inputs": {"amounts": {"type": "array"}}},
)

integration = enhance_nexus_with_mcp(
    app,
    models=db,
    # Users with the role clerk may read and write orders, and run two of the workflows.
    auth=NexusAuth(roles={"clerk": ["Order:*", "nexus:greet", "nexus:total"]}),
    expose_workflows=["discount"],
)

if __name__ == "__main__":
    app.start()
