"""The prompt `investigate_error`: find out why a call failed, and what to do about it."""

from __future__ import annotations

import re

from kailash_mcp_prod.content.catalogue import UsableModels
from kailash_mcp_prod.content.prompt import MAX_TEXT, PromptArgument, PromptSpec, Scene, Script
from kailash_mcp_prod.content.uris import HEALTH, MODELS, model_uri
from kailash_mcp_prod.content.wording import prompt_of, steps
from kailash_mcp_prod.records.operations import Operation

_WORD = re.compile(r"\w+")

_CODES = (
    ("invalid_arguments", "`field` is the path of the value at fault and the message names the fix:"
     " mend it by the tool's schema"),
    ("not_found", "no such tool, resource or record for this caller: take names from lists and"
     " ids from `{find}`"),
    ("conflict", "a unique key is taken, or the record was changed meanwhile: read it again and"
     " decide anew"),
    ("unauthenticated", "the credential is missing, wrong or expired: the user has to renew it"),
    ("forbidden", "the credential does not allow this: the operator grants permissions"),
    ("rate_limited", "wait for `retry_after_seconds`, then call less often or in bulk"),
    ("overloaded", "the call was not started: try again after a second"),
    ("circuit_open", "a backend has failed too often: try again after `retry_after_seconds`"),
    ("timeout", "ask for less at once; after a write, look first whether it was stored"),
    ("unavailable", "the database does not answer: try again later"),
    ("internal", "a defect of the server: only its operator can tell more, by `request_id`"),
)  # fmt: skip


def write(scene: Scene) -> Script:
    """The prompt, with the document of the model that the message speaks of, if it does."""
    message, request_id = scene.values.get("message"), scene.values.get("request_id")
    concerned = model_in(message or "", scene.usable)
    document = model_uri(concerned) if concerned else MODELS
    instructions = steps(
        "Read the error given below as `message`. A structured one has `code`, `message`, "
        "`retryable`, and may have `field`, `details` and `retry_after_seconds`."
        if message
        else "Ask the user for the error: its `code`, `message`, `field` and `request_id`, the "
        "tool and the arguments.",
        f"Find its code here:\n{_codes(scene.usable, concerned)}",
        f"Compare the arguments with the document of {concerned}, which is attached ({document}): "
        "names of fields, types, allowed values, required fields."
        if concerned
        else f"Find the model that it is about in the overview, which is attached ({MODELS}), and "
        f"read {MODELS}/<model> for its fields and example calls.",
        "See whether server and database are well: the state is attached, and "
        f"{HEALTH} has it anew."
        if scene.health
        else None,
        "Try again only what changes nothing, or what is `retryable` and was not stored; make no "
        "other change without asking the user.",
    )
    known = " (given below)" if request_id else ""
    closing = (
        "Report the cause, the evidence for it, and the corrected call or the next step. Say what "
        f"you could not find out. The server's log has each call under its `request_id`{known}; no "
        "tool reads that log, so give the id to the operator when you need more."
    )
    task = "Find out why a call of this server failed, and what to do about it."
    text = prompt_of(task, instructions, closing, scene.values)
    return Script(text, (document, *([HEALTH] if scene.health else [])))


def model_in(message: str, usable: UsableModels) -> str | None:
    """The first model in a message, by its name or by that of one of its tools."""
    owners = {tool.name: name for name, each in usable.items() for tool in each.tools}
    for word in _WORD.findall(message):
        found = word if word in usable else owners.get(word)
        if found is not None:
            return found
    return None


def _codes(usable: UsableModels, concerned: str | None) -> str:
    order = [usable[concerned]] if concerned else list(usable.values())
    lists = [name for each in order if (name := each.tool(Operation.LIST))]
    find = lists[0] if lists else "the model's list tool"
    return "\n".join(f"   - `{code}`: {text.format(find=find)}." for code, text in _CODES)


INVESTIGATE_ERROR = PromptSpec(
    name="investigate_error",
    title="Investigate an error",
    description="Find out why a call failed, and what to do about it.",
    arguments=(
        PromptArgument("request_id", "The request id of the failed call.", max_length=128),
        PromptArgument(
            "message", "The error, as text or JSON, and the call that failed.", MAX_TEXT
        ),
    ),
    needs=(),
    write=write,
)
