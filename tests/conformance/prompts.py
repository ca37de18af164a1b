"""The prompts that the suite wants to get, and the completion of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.protocol import Completions, Peer
from tests.conformance.content import IMAGE, Block, embedded, form, text
from tests.conformance.listeners import Listeners

_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}
_WORDS = ("park", "party", "test", "testing", "testValue1")


class Prompts:
    """A `PromptHost` and a `CompletionHost`."""

    def __init__(self) -> None:
        self._changed = Listeners()
        self._extra: list[str] = []

    def change(self) -> None:
        """Add a prompt, or take it away again."""
        self._extra = [] if self._extra else ["test_added_prompt"]
        self._changed.tell()

    async def prompts(self, principal: Principal) -> Sequence[dict[str, Any]]:
        return [
            {
                "name": name,
                "description": f"The prompt {name}.",
                "arguments": [
                    {"name": each, "description": f"The argument {each}.", "required": True}
                    for each in _ARGUMENTS.get(name, ())
                ],
            }
            for name in (*_ARGUMENTS, *self._extra)
        ]

    async def get_prompt(
        self,
        principal: Principal,
        name: str,
        arguments: Mapping[str, str],
        *,
        request_id: str,
        peer: Peer,
    ) -> dict[str, Any]:
        if name not in (*_ARGUMENTS, *self._extra):
            raise NotFoundError(f"There is no prompt {name[:64]!r}.")
        if missing := [each for each in _ARGUMENTS.get(name, ()) if each not in arguments]:
            raise InvalidArgumentsError(f"arguments.{missing[0]} is missing.", field=missing[0])
        blocks = await self._blocks(name, arguments, peer)
        return {"messages": [{"role": "user", "content": block} for block in blocks]}

    async def _blocks(self, name: str, arguments: Mapping[str, str], peer: Peer) -> Sequence[Block]:
        match name:
            case "test_prompt_with_arguments":
                return [
                    text("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'".format(**arguments))
                ]
            case "test_prompt_with_embedded_resource":
                words = "Embedded resource content for testing."
                resource = embedded(arguments["resourceUri"], "text/plain", words)
                return [resource, text("Please process the embedded resource above.")]
            case "test_prompt_with_image":
                return [IMAGE, text("Please analyze the image above.")]
            case "test_input_required_result_prompt":
                question = "What context should the prompt use?"
                answer = await peer.elicit(
                    question, form(context={"type": "string"}), "user_context"
                )
                return [text(f"Use this context: {answer.get('content')}")]
        return [text("This is a simple prompt for testing.")]

    def on_prompts_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._changed.add(listener)

    async def complete(
        self,
        principal: Principal,
        reference: dict[str, Any],
        argument: str,
        value: str,
        given: Mapping[str, str],
        *,
        request_id: str,
    ) -> Completions:
        known = _ARGUMENTS.get(reference.get("name", ""), ())
        if argument not in known and reference.get("uri") != "test://template/{id}/data":
            raise NotFoundError("There is no such argument.")
        return Completions([word for word in _WORDS if word.startswith(value)])
