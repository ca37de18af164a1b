"""The Nexus app of the benchmark: one handler, and a bare route of FastAPI beside Nexus's own."""

import os

from nexus import Nexus
from nexus.auth import JWTConfig
from nexus.auth.plugin import NexusAuthPlugin

app = Nexus(enable_durability=False, auto_discovery=False)
if os.environ.get("BENCH_SECRET"):
    app.add_plugin(NexusAuthPlugin(jwt=JWTConfig(secret=os.environ["BENCH_SECRET"])))


@app.handler("greet", description="Greets somebody.")
async def greet(name: str, greeting: str = "Hello") -> dict[str, str]:
    return {"message": f"{greeting}, {name}!"}
