"""A small Nexus app, for a demonstration where there is none."""

from __future__ import annotations

from nexus import Nexus

app = Nexus(auto_discovery=False)


async def greet(name: str) -> dict[str, str]:
    """Greets somebody."""
    return {"message": f"Hello, {name}!"}


app.handler("demo_greet", description="Greets somebody.")(greet)
