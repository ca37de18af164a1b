"""A workflow session in the server's own process: steps that refer to each other, and are undone.

    python examples/workflow_session.py

It uses the reference models of this repository, in a database of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from kailash_mcp_prod import ProductionMCPServer, ServerConfig, ServerError


async def main() -> None:
    server = ProductionMCPServer(ServerConfig(port=0, enable_auth=False, log_level="ERROR"))
    server.start_mcp_server_async()
    try:
        await onboard(server)
    finally:
        server.stop_mcp_server()


async def onboard(server: ProductionMCPServer) -> None:
    session = await server.mcp_server.call_tool(
        "create_agent_workflow_session",
        {
            "agent_id": "sales_agent",
            "workflow_type": "customer_onboarding",
            "session_config": {"enable_caching": True, "segment": "industrial"},
        },
    )
    session_id = session["workflow_session_id"]

    async def step(name: str, config: dict[str, Any]) -> Any:
        done = await server.mcp_server.call_tool(
            "execute_workflow_step",
            {"workflow_session_id": session_id, "step_name": name, "step_config": config},
        )
        print(f"{name}: {'again' if done.get('repeated') else 'done'}")
        return done["result"]

    create_customer = {
        "type": "dataflow_operation",
        "model": "Customer",
        "operation": "create",
        "parameters": {"name": "Nordbau GmbH", "segment": "{{session.segment}}"},
        "compensate": {
            "type": "dataflow_operation",
            "model": "Customer",
            "operation": "delete",
            "parameters": {"id": "{{result.id}}"},
        },
    }
    await step("create_customer", create_customer)
    quote = await step(
        "create_quote",
        {
            "type": "workflow",
            "workflow": "create_quote",
            "inputs": {
                "customer_id": "{{previous_result.id}}",
                "quote_number": "Q-EX-1",
                "title": "For {{steps.create_customer.name}}",
                "line_items": [{"product_code": "A1", "quantity": 3, "unit_price": "9.99"}],
            },
        },
    )
    print("total:", quote["total_amount"])

    # Sent again, as after a lost answer, a step is not done again.
    await step("create_customer", create_customer)

    try:
        await step(
            "archive_contract",
            {
                "type": "dataflow_operation",
                "model": "Document",
                "operation": "update",
                "parameters": {"id": "no-such-document", "status": "archived"},
                "on_error": "compensate",
            },
        )
    except ServerError as failure:
        print(f"failed with {failure.code}; undone: {(failure.details or {})['compensated']}")
    status = await server.mcp_server.call_tool(
        "get_workflow_session_status", {"workflow_session_id": session_id}
    )
    print("status:", status["status"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/example.db"
        asyncio.run(main())
