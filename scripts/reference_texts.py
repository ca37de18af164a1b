"""What the generated pages say beside what is generated; see scripts/generate_reference.py."""

from __future__ import annotations

from typing import Final

GENERATED: Final = (
    "<!-- Made by `python -m scripts.generate_reference`; a test checks that it is current. -->\n\n"
)

TOOLS: Final = """\
# Every tool

All tools of the reference application, with what each takes and needs. `kailash-mcp-prod tools --json`
prints those of your own with their exact schemas. What they do with records (filters, pages, values,
writes) is in [record tools](tools.md).

**Hints** are MCP's annotations: *read-only* changes nothing; *destructive* may overwrite or remove
something; *idempotent* does the same when it is called again. Every tool that is marked *keys* takes
an [idempotency key](idempotency.md). All tools take `_session_id`, which counts the call in an
[agent session](agents.md#sessions), and `_agent_id`, which is held against the credential.
"""

RECORDS: Final = """\
## Record tools

Each model has these tools, here those of `Company`. `upsert`, `count` and `aggregate` are off by
default; `operations` turns them on.
"""

MODELS: Final = """\
The reference application has these models, each with the nine operations of the default:
"""

FAMILIES: Final = {
    "models": ("Models", "What there is, and how its tables are reached."),
    "session": ("Agent sessions and workspaces", "See [agents](agents.md)."),
    "workflow": ("Workflow sessions", "See [workflow sessions](workflows.md)."),
    "monitor": ("Monitoring", "See [metrics](metrics.md) and [health](operations.md)."),
}

NEXUS: Final = """\
## Nexus

Only on a [Nexus app](nexus.md). With `expose_workflows`, each workflow is a tool of its own besides,
`nexus_NAME`, which needs `nexus:NAME`.

| tool | arguments | needs | hints |
|---|---|---|---|
| `{list}` | `name?` | permission for any workflow | read-only, idempotent |
| `{execute}` | `name`, `inputs?`, `timeout?` | `nexus:NAME` of the workflow | destructive |
"""

SURFACES: Final = """\
## Tools of the other surfaces

[Surfaces](tools.md#surfaces) show fewer tools, which stand for those above. A call on them needs what
the tool needs that it stands for.
"""

ERRORS: Final = """\
# Every error

A failed call is a result with `isError: true`, whose `structuredContent.error` has `code`, `message`,
`retryable`, `request_id` and, where there is something to say, `field`, `details` and
`retry_after_seconds`. REST answers with the same body and a fitting status. Branch on `code`; the
message is for people and models, and may be worded better one day. Nothing of a driver, an address, a
traceback or another row is ever in it: the server's log has that under the `request_id`.

`retryable` says that the same call may succeed later, after `retry_after_seconds`. Give writes an
[idempotency key](idempotency.md), and a repetition can't do them twice. `details.outcome` is there
where a call that failed may have changed something: `unknown`, or `done` when only what follows the
change has failed. Such an error is not retryable: look first.
"""

TO_DO: Final = {
    "invalid_arguments": "Change what `field` names; `details.problems` lists all that is wrong.",
    "not_found": (
        "Look the id or the name up. What the credential may not reach does not exist for it, so "
        "check its permissions, rows and tenant too."
    ),
    "conflict": (
        "Read the record again and decide anew; or, for a unique key that is taken, use another "
        "value or an upsert."
    ),
    "unauthenticated": "Send a credential, or get a new one.",
    "forbidden": (
        "Ask the operator for a credential that may do it; `details.required_scopes` names what a "
        "token lacks."
    ),
    "rate_limited": "Wait `retry_after_seconds`; call less often, or in bulk.",
    "overloaded": "Wait and try again; nothing was started.",
    "timeout": (
        "Ask for less: a narrower filter, a smaller page or bulk. A write may have been made if "
        "`details.outcome` is `unknown`: look before you repeat it."
    ),
    "unavailable": "Wait and try again; if it lasts, look at `/health`.",
    "circuit_open": "Wait until the circuit tries again; find out what has failed, in the log.",
    "internal": "Give the `request_id` to the operator, whose log has the cause under it.",
}

EXITS: Final = """\
## When a command fails

Commands print what to change on standard error and end with an exit code. 0 is success, and 5 that
something was refused or may not be done: a tool that `explain` finds forbidden, a credential that is
no good.

| code | error | meaning |
|---|---|---|
"""

PERMISSIONS: Final = """\
# Every permission

A credential has permissions; so has each role that it names. A tool can be seen and called when all
that it needs is granted. [Access](access.md) has roles, rules for rows and fields, and `explain`.

| grant | covers |
|---|---|
| `*` | everything |
| `*:read`, `*:write`, `*:*` | reading, writing, or both, of everything that is named SUBJECT:ACTION |
| `*:list` | one operation of every model; likewise with each other operation |
| `MODEL:*` | all operations of a model, such as `Company:*` |
| `MODEL:read` | {reads} |
| `MODEL:write` | {writes} |
| `MODEL:OPERATION` | one operation, such as `Company:bulk_create` |
| `tool:NAME` | one tool, whatever it needs |
| `session:read`, `session:write`, `session:*` | agent sessions and workspaces |
| `workflow:read`, `workflow:write`, `workflow:*` | workflow sessions; their steps need what they call |
| `monitor:read` | figures, `/metrics`, the details of `/health`, the dashboard's view of the server |
| `monitor:write` | ending the sessions of others on the dashboard, with `monitor:read` |
| `monitor:*` | both, and the figures of other agents in `get_server_metrics` |
| `nexus:NAME`, `nexus:write`, `nexus:*` | one workflow of a [Nexus app](nexus.md), or all of them |

`read_only` in a credential, a role or the configuration leaves only what changes nothing, whatever is
granted.

## What each tool needs

| tools | need |
|---|---|
"""
