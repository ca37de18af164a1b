"""Runs agent nodes, each with the settings that it is given.

    python agent_jobs.py < jobs.json

The jobs are an object of `{"node": …, "settings": {…}, "runtime": "local" | "async" | "none",
"inputs": {…}}`, where `inputs` are given to the run instead of the node. The report has under the
same names what the nodes have put out, or `failed` and an `error`. Standard error gets the log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import agent_programs  # noqa: F401 - lets models be asked on this machine
from kailash.nodes.base import NodeRegistry
from kailash.runtime import AsyncLocalRuntime
from kailash.runtime.local import LocalRuntime
from kailash.sdk_exceptions import KailashException
from kailash.workflow.builder import WorkflowBuilder

import kailash_mcp_prod.agents  # noqa: F401 - registers the node


def run(job: dict[str, Any]) -> Any:
    runtime, inputs = job.get("runtime", "local"), job.get("inputs", {})
    if runtime == "none":
        node = NodeRegistry.get(job["node"])(**job["settings"])
        return asyncio.run(node.async_run(**inputs))
    builder = WorkflowBuilder()
    builder.add_node(job["node"], "agent", job["settings"])
    workflow, parameters = builder.build(), {"agent": inputs} if inputs else {}
    if runtime == "async":
        asynchronous = AsyncLocalRuntime()
        results, _ = asyncio.run(asynchronous.execute_workflow_async(workflow, parameters))
    else:
        with LocalRuntime() as local:
            results, _ = local.execute(workflow, parameters=parameters)
    return {name: value for name, value in results["agent"].items() if name != "_exception"}


logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
reports = {}
for name, job in json.load(sys.stdin).items():
    try:
        reports[name] = run(job)
    except KailashException as error:
        reports[name] = {"failed": True, "error": str(error)}
json.dump(reports, sys.stdout)
