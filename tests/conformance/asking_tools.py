"""The tools that ask the client for something, in the words of the suite's descriptions of them."""

from __future__ import annotations

import json
from typing import Any

from kailash_mcp_prod.protocol import Ask, Peer, ToolContent
from tests.conformance.content import form
from tests.conformance.tools import Arguments, Run, Tool, needs, says

_TEXT = {"type": "string"}
_NAME = form(name=_TEXT)
_CONFIRMATION = form(ok={"type": "boolean"})

_DEFAULTS = form(
    name={"type": "string", "description": "Name", "default": "John Doe"},
    age={"type": "integer", "description": "Age", "default": 30},
    score={"type": "number", "description": "Score", "default": 95.5},
    status={
        "type": "string",
        "description": "Status",
        "enum": ["active", "inactive", "pending"],
        "default": "active",
    },
    verified={"type": "boolean", "description": "Verified", "default": True},
)

_OPTIONS = ["option1", "option2", "option3"]
_ENUMS = form(
    untitledSingle={"type": "string", "enum": _OPTIONS},
    titledSingle={
        "type": "string",
        "oneOf": [
            {"const": "value1", "title": "First Option"},
            {"const": "value2", "title": "Second Option"},
            {"const": "value3", "title": "Third Option"},
        ],
    },
    legacyEnum={
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti={"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    titledMulti={
        "type": "array",
        "items": {
            "anyOf": [
                {"const": "value1", "title": "First Choice"},
                {"const": "value2", "title": "Second Choice"},
                {"const": "value3", "title": "Third Choice"},
            ]
        },
    },
)


def _sample(words: str, max_tokens: int = 100) -> Ask:
    message = {"role": "user", "content": {"type": "text", "text": words}}
    return Ask("sampling/createMessage", {"messages": [message], "maxTokens": max_tokens})


def _elicit(message: str, schema: dict[str, Any]) -> Ask:
    return Ask("elicitation/create", {"message": message, "requestedSchema": schema})


def _asks(template: str = "The client answered: {}", **asked: Ask) -> Run:
    """A tool that asks all of this at once and says what it heard."""

    async def run(_arguments: Arguments, peer: Peer) -> ToolContent:
        return says(template.format(json.dumps(await peer.ask(asked))))

    return run


async def _sampling(arguments: Arguments, peer: Peer) -> ToolContent:
    answers = await peer.ask({"answer": _sample(arguments["prompt"])})
    return says(f"LLM response: {json.dumps(answers['answer'].get('content'))}")


async def _elicitation(arguments: Arguments, peer: Peer) -> ToolContent:
    schema = form(
        username={"type": "string", "description": "User's response"},
        email={"type": "string", "description": "User's email address"},
    )
    answer = await peer.elicit(arguments["message"], schema)
    return says(f"User response: {json.dumps(answer)}")


def _elicits(schema: dict[str, Any]) -> Run:
    async def run(_arguments: Arguments, peer: Peer) -> ToolContent:
        answer = await peer.elicit("Please fill in the form.", schema)
        action, content = answer.get("action"), json.dumps(answer.get("content"))
        return says(f"Elicitation completed: action={action}, content={content}")

    return run


async def _greeting(_arguments: Arguments, peer: Peer) -> ToolContent:
    answer = await peer.elicit("What is your name?", _NAME, "user_name")
    return says(f"Hello, {answer.get('content', {}).get('name', 'stranger')}!")


async def _request_state(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.elicit("Please confirm", _CONFIRMATION, "confirm")
    # Only a call whose state has held its seal comes this far.
    return says("state-ok")


async def _multi_round(_arguments: Arguments, peer: Peer) -> ToolContent:
    name = await peer.elicit("Step 1: What is your name?", _NAME, "step1")
    question = "Step 2: What is your favorite color?"
    color = await peer.elicit(question, form(color=_TEXT), "step2")
    return says(f"{json.dumps(name)}, {json.dumps(color)}")


async def _what_the_client_can(_arguments: Arguments, peer: Peer) -> ToolContent:
    able = {
        "elicitation": ("name", _elicit("What is your name?", _NAME)),
        "sampling": ("greeting", _sample("Generate a greeting")),
        "roots": ("roots", Ask("roots/list", {})),
    }
    answers = await peer.ask(dict(ask for name, ask in able.items() if peer.can(name)))
    return says(json.dumps(answers))


ASKING_TOOLS = [
    Tool("test_sampling", _sampling, needs(prompt="The prompt to send to the LLM")),
    Tool("test_elicitation", _elicitation, needs(message="The message to show the user")),
    Tool("test_elicitation_sep1034_defaults", _elicits(_DEFAULTS)),
    Tool("test_elicitation_sep1330_enums", _elicits(_ENUMS)),
    Tool("test_missing_capability", _asks(answer=_sample("Say something."))),
    Tool("test_streaming_elicitation", _elicits(_NAME)),
    Tool("test_input_required_result_elicitation", _greeting),
    Tool(
        "test_input_required_result_sampling",
        _asks(capital_question=_sample("What is the capital of France?")),
    ),
    Tool("test_input_required_result_list_roots", _asks(client_roots=Ask("roots/list", {}))),
    Tool("test_input_required_result_request_state", _request_state),
    Tool(
        "test_input_required_result_multiple_inputs",
        _asks(
            user_name=_elicit("What is your name?", _NAME),
            greeting=_sample("Generate a greeting", 50),
            client_roots=Ask("roots/list", {}),
        ),
    ),
    Tool("test_input_required_result_multi_round", _multi_round),
    Tool("test_input_required_result_tampered_state", _request_state),
    Tool("test_input_required_result_capabilities", _what_the_client_can),
]
"""Tools that need a client with the capabilities elicitation, sampling or roots."""
