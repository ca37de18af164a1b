"""Shows what a server can do, step by step, as an agent would use it."""

from kailash_mcp_prod.demo.running import Outcome, Result, run_steps
from kailash_mcp_prod.demo.stage import Stage

__all__ = ["Outcome", "Result", "Stage", "run_steps"]
