"""A session of an agent: what it keeps between calls, and what its calls add up to.

Run it from the root of the repository: `python examples/agent_sessions.py`
"""

from __future__ import annotations

import asyncio
import tempfile

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ConflictError, NotFoundError

PRICING = Principal("key:pricing", frozenset({"Company:*", "session:*"}))
OTHER = Principal("key:other", frozenset({"*"}))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(
            port=0, enable_auth=False, models="models:db", database_url=f"sqlite:///{folder}/a.db"
        )
        # Over MCP or REST, the credential says who calls; in Python, `principal` does.
        async with ProductionMCPServer(config) as server:
            call = server.mcp_server.call_tool
            session = await call(
                "create_agent_session",
                {
                    "agent_id": "pricing",
                    "agent_info": {"capabilities": ["quotes"], "metadata": {"team": "Kiel"}},
                },
                principal=PRICING,
            )
            session_id = session["session_id"]
            print(f"{session['agent_id']} has a session with {session['capabilities']}")

            # Any call may say in which session it is made.
            for name in ("Nordlicht GmbH", "Acme"):
                await call(
                    "Company_create",
                    {"data": {"name": name}, "_session_id": session_id},
                    principal=PRICING,
                )

            # The context is for what the agent has to remember. It has a version.
            kept = await call(
                "update_agent_context",
                {"session_id": session_id, "set": {"done": ["Nordlicht GmbH"]}},
                principal=PRICING,
            )
            print(f"the context is at version {kept['version']}")
            try:
                await call(
                    "update_agent_context",
                    {"session_id": session_id, "set": {"done": []}, "expected_version": 0},
                    principal=PRICING,
                )
            except ConflictError as conflict:
                print(f"{conflict.code}: {conflict.message}")

            found = await call("get_agent_session", {"session_id": session_id}, principal=PRICING)
            print(f"{found['request_count']} calls, {found['error_count']} errors")

            # For everybody else there is no such session.
            try:
                await call("get_agent_context", {"session_id": session_id}, principal=OTHER)
            except NotFoundError as absent:
                print(f"{absent.code}: {absent.message}")
            await call("end_agent_session", {"session_id": session_id}, principal=PRICING)


if __name__ == "__main__":
    asyncio.run(main())
