"""The prompts that a principal gets: written for what is there, and for what it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.catalogue import Catalogue
from kailash_mcp_prod.content.classification import CLASSIFY_PRODUCT
from kailash_mcp_prod.content.explore import EXPLORE_DATA
from kailash_mcp_prod.content.investigation import INVESTIGATE_ERROR
from kailash_mcp_prod.content.onboarding import ONBOARD_CUSTOMER
from kailash_mcp_prod.content.prompt import PromptSpec, Scene
from kailash_mcp_prod.content.resources import DataResources
from kailash_mcp_prod.content.uris import HEALTH
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.peer import NOBODY, Peer
from kailash_mcp_prod.tools.service import ToolService

PROMPTS: Final = (EXPLORE_DATA, ONBOARD_CUSTOMER, CLASSIFY_PRODUCT, INVESTIGATE_ERROR)


class DataPrompts:
    """The prompts of an application; a `protocol.PromptHost`.

    Args:
        service: The tools.
        catalogue: What a principal may use of the models.
        resources: Reads what goes with a prompt, each at the price of a call.

    Example:
        ```python
        prompt = await prompts.get_prompt(
            principal, "explore_data", {"model": "Company"}, request_id="r1"
        )
        ```
    """

    def __init__(
        self, service: ToolService, catalogue: Catalogue, resources: DataResources
    ) -> None:
        self._service = service
        self._catalogue = catalogue
        self._resources = resources

    async def prompts(self, principal: Principal) -> list[dict[str, Any]]:
        """MCP `Prompt` objects, in a fixed order."""
        return [each.to_mcp() for each in await self.offered(principal)]

    async def offered(self, principal: Principal) -> list[PromptSpec]:
        """The prompts of whose models the principal may use what they need."""
        await self._service.ready()
        usable = self._catalogue.usable(principal)
        return [each for each in PROMPTS if each.offered(usable)]

    async def get_prompt(
        self,
        principal: Principal,
        name: str,
        arguments: Mapping[str, str],
        *,
        request_id: str,
        peer: Peer = NOBODY,
    ) -> dict[str, Any]:
        """The prompt's description and messages: the text, then what goes with it.

        Raises:
            NotFoundError: There is no such prompt for the principal.
            InvalidArgumentsError: An argument is unknown, too long, or names what is not there.
            ServerError: As from reading the resources, such as `RateLimitedError`.
        """
        await self._service.ready()
        usable = self._catalogue.usable(principal)
        offered = {each.name: each for each in PROMPTS if each.offered(usable)}
        spec = offered.get(name)
        if spec is None:
            raise NotFoundError(
                f"There is no prompt '{shown(name)}' that you may use. Use one of: "
                f"{', '.join(offered)}.",
                field="name",
            )
        listed = {each["uri"] for each in await self._resources.resources(principal)}
        script = spec.write(Scene(usable, _checked(spec, arguments), health=HEALTH in listed))
        messages = [_message({"type": "text", "text": script.text})]
        for uri in script.resources:
            if uri in listed:
                messages += [
                    _message({"type": "resource", "resource": content, "annotations": _FOR_AGENTS})
                    for content in await self._resources.read_resource(
                        principal, uri, request_id=request_id, peer=peer
                    )
                ]
        return {"description": spec.description, "messages": messages}

    def on_prompts_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener whenever the list may have changed; what it returns ends that."""
        return self._service.on_tools_changed(listener)


_FOR_AGENTS: Final = {"audience": ["assistant"], "priority": 0.8}


def _message(content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _checked(spec: PromptSpec, arguments: Mapping[str, str]) -> dict[str, str]:
    """The values with a text in them; clients send empty ones for what was left out."""
    values = {}
    for name, value in arguments.items():
        known = spec.argument(name)
        where = f"arguments.{shown(name)}"
        if known is None:
            names = ", ".join(each.name for each in spec.arguments)
            raise InvalidArgumentsError(
                f"{where}: {spec.name} has no such argument. Use one of: {names}.", field=where
            )
        if len(value) > known.max_length:
            raise InvalidArgumentsError(
                f"{where}: give at most {known.max_length} characters.", field=where
            )
        if value.strip():
            values[name] = value.strip()
    return values
