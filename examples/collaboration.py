"""Two agents that work together: an invitation, a blackboard, messages, a lease on a record.

Run it from the root of the repository: `python examples/collaboration.py`
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import Any

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConflictError

SALES = Principal("key:sales", frozenset({"*"}))
PRICING = Principal("key:pricing", frozenset({"Company:read", "session:*"}))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(
            port=0, enable_auth=False, models="models:db", database_url=f"sqlite:///{folder}/c.db"
        )
        async with ProductionMCPServer(config) as server:

            async def call(who: Principal, tool: str, **arguments: Any) -> dict[str, Any]:
                return await server.mcp_server.call_tool(tool, arguments, principal=who)

            company = await call(SALES, "Company_create", data={"name": "Nordlicht GmbH"})

            # Agents are invited by the agent_id of their credential, and have to accept.
            made = await call(
                SALES,
                "enable_agent_collaboration",
                name="Quote for Nordlicht",
                agents=[{"agent_id": "pricing", "role": "member"}],
            )
            here = {"workspace_id": made["workspace_id"]}
            invited = (await call(PRICING, "list_collaborations"))["invitations"]
            print(f"{invited[0]['invited_by']} invites pricing to {invited[0]['name']!r}")
            await call(PRICING, "respond_to_invitation", **here, accept=True)

            # Who holds the lease works on the record; the other one is told who does.
            on_it = {**here, "model": "Company", "id": company["id"]}
            lease = await call(PRICING, "acquire_lease", **on_it, ttl_seconds=30)
            try:
                await call(SALES, "acquire_lease", **on_it)
            except ConflictError as conflict:
                print(f"{conflict.code}: held by {(conflict.details or {})['held_by']}")

            # Entries of the blackboard have versions: compare and set.
            token = lease["fencing_token"]
            entry = await call(
                PRICING,
                "write_blackboard",
                **here,
                key="price",
                value={"amount": "1200.00"},
                expected_version=0,
                fencing_token=token,
            )
            await call(PRICING, "send_agent_message", **here, message="The price is there.")
            await call(PRICING, "release_lease", **here, fencing_token=token)

            [message] = (await call(SALES, "read_agent_messages", **here))["messages"]
            print(f"{message['from']}: {message['message']}")
            await call(SALES, "read_agent_messages", **here, after=message["message_id"])
            try:
                await call(
                    SALES,
                    "write_blackboard",
                    **here,
                    key="price",
                    value={"amount": "900.00"},
                    expected_version=entry["version"] - 1,
                )
            except ConflictError as conflict:
                print(f"{conflict.code}: {conflict.message}")

            [workspace] = (await call(SALES, "list_collaborations", **here))["workspaces"]
            for change in workspace["changes"]:
                print(f"{change['revision']}. {change['agent_id']} {change['action']}")
            await call(SALES, "leave_collaboration", **here, close=True)


if __name__ == "__main__":
    asyncio.run(main())
