"""Runs agent nodes in workflows, each with the settings that it is given.

    python agent_jobs.py < jobs.json

A job is `{"node": …, "settings": {…}, "runtime": "local" | "async", "inputs": {…}}`, where `inputs`
are given to the run instead of the workflow. The report has what each node has put out, or `failed`
and its `error`. Everything that is logged goes to standard error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import loopback  # noqa: F401 - lets models be asked on this machine
from kailash.runtime import AsyncLocalRuntime
from kailash.runtime.local import LocalRuntime
from kailash.sdk_exceptions import KailashException
from kailash.workflow.builder import WorkflowBuilder

import kailash_mcp_prod.agents  # noqa: F401 - registers the node


def run(job: dict[str, Any]) -> dict[str, Any]:
    workflow = WorkflowBuilder()
    workflow.add_node(job["node"], "agent", job["settings"])
    inputs = {"agent": job["inputs"]} if "inputs" in job else {}
    if job.get("runtime") == "async":
        runtime = AsyncLocalRuntime()
        results, _ = asyncio.run(runtime.execute_workflow_async(workflow.build(), inputs))
    else:
        with LocalRuntime() as local:
            results, _ = local.execute(workflow.build(), parameters=inputs)
    return {name: value for name, value in results["agent"].items() if name != "_exception"}


logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
reports = []
for job in json.load(sys.stdin):
    try:
        reports.append(run(job))
    except KailashException as error:
        reports.append({"failed": True, "error": str(error)})
json.dump(reports, sys.stdout)
