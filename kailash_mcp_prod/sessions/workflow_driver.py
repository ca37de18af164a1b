"""The workflow sessions of a server: made, driven, looked at and removed."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import (
    ConfigError,
    ConflictError,
    DatabaseStartupError,
    InvalidArgumentsError,
    ModelError,
    ServerError,
    UnservedError,
)
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.connecting import is_postgresql
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.sessions.handing_over import Give
from kailash_mcp_prod.sessions.runtime import StepRuntime
from kailash_mcp_prod.sessions.steps import check_name
from kailash_mcp_prod.sessions.steps_engine import StepEngine
from kailash_mcp_prod.sessions.steps_running import StepRunner
from kailash_mcp_prod.sessions.workflow_config import parse_session_config
from kailash_mcp_prod.sessions.workflow_places import WorkflowRecords
from kailash_mcp_prod.sessions.workflow_registry import WorkflowRegistry, load_registry
from kailash_mcp_prod.sessions.workflow_state import Session, Step, owner_of
from kailash_mcp_prod.sessions.workflow_store import WorkflowStore
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.claimed_agent import check_agent
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall

log = get_logger(__name__)

_MAX_TEXT: Final = 255
_MAX_MINUTES: Final = 100_000_000
_TYPE: Final = re.compile(r"[\w.:-]+")
_LASTS_SECONDS: Final = 60.0


class WorkflowDriver:
    """What the tools for workflow sessions do. Its import takes a while.

    Args:
        config: The settings.
        state: Makes the tables.
        service: The tools that steps call.
        records: The stores of the application.
        registry: What was registered by code; the application's own registry is added to it.
    """

    def __init__(
        self,
        config: ServerConfig,
        state: State,
        service: ToolService,
        records: WorkflowRecords,
        registry: WorkflowRegistry,
    ) -> None:
        self._config = config
        self._state = state
        self._records = records
        self.registry = registry
        self._runtime = StepRuntime()
        self.store = WorkflowStore(self._opened)
        self._runner = StepRunner(service, self._runtime, registry, records)
        self._engine = StepEngine(
            self.store, self._runner, caching_seconds=config.cache_ttl_seconds
        )
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def stop(self) -> None:
        """Ends what runs workflows."""
        await self._runtime.close()

    async def create(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a session for the caller."""
        await self._ready()
        agent_id = _text(arguments, "agent_id", required=False)
        if agent_id is not None:
            check_agent(call.principal, agent_id, "agent_id")
        workflow_type = _text(arguments, "workflow_type") or ""
        if not _TYPE.fullmatch(workflow_type):
            raise InvalidArgumentsError(
                "workflow_type: use letters, digits, _, -, . and : only, such as "
                "customer_onboarding.",
                field="workflow_type",
            )
        config = parse_session_config(arguments.get("session_config", {}))
        owner = owner_of(call.principal)
        now = self.store.clock()
        session = Session(
            id=_new_id(call.idempotency_key, owner),
            owner=owner,
            agent_id=agent_id,
            workflow_type=workflow_type,
            status="active",
            config=config,
            version=1,
            result_bytes=0,
            created_at=now,
            updated_at=now,
            expires_at=now + config.timeout_minutes * 60,
        )
        if not await self.store.add(session):
            found = await self.store.find(session.id, owner)
            same = (found.agent_id, found.workflow_type, found.config.raw)
            if same != (agent_id, workflow_type, config.raw):
                raise ConflictError(
                    "This idempotency key was used for another workflow session. Use a new one.",
                    field="_idempotency_key",
                )
            session = found
        else:
            self._engine.seen.put(session)
        return {**self._overview(session), "remaining_steps": self._remaining(session)}

    async def execute(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Does one step, or all that the template has left."""
        await self._ready()
        session_id = _text(arguments, "workflow_session_id") or ""
        if _flag(arguments, "run_all"):
            for name in ("step_name", "step_config"):
                if name in arguments:
                    raise InvalidArgumentsError(
                        f"{name}: with run_all the steps are those of the template. Leave it out.",
                        field=name,
                    )
            return await self._run_all(call, session_id)
        if "step_name" not in arguments:
            raise InvalidArgumentsError(
                "step_name: this argument is required, or run_all for what the template has left.",
                field="step_name",
            )
        name = check_name(arguments["step_name"], "step_name")
        given = arguments.get("step_config")
        if "step_config" not in arguments:
            session = await self.store.find(session_id, owner_of(call.principal))
            given = self._of_template(session, name)
        return await self._engine.execute(call, session_id, name, _unnamed(given, name))

    async def status(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Where a session stands."""
        await self._ready()
        session_id = _text(arguments, "workflow_session_id") or ""
        with_results = _flag(arguments, "include_results")
        session = await self.store.find(session_id, owner_of(call.principal))
        steps = sorted(
            (each for each in session.steps.values() if not each.is_part),
            key=lambda each: each.number,
        )
        now = self.store.clock()
        told = {
            **self._overview(session),
            "steps": [_step(each, now, with_results=with_results) for each in steps],
            "completed_steps": sum(each.status == "done" for each in steps),
            "remaining_steps": self._remaining(session),
        }
        return told if session.error is None else {**told, "error": session.error}

    async def hand_over(self, session_id: str, from_owner: str) -> Give:
        """What makes a session somebody else's; see `WorkflowStore.transfer`."""
        # Here, because it may make tables, and then nobody else may be writing.
        await self._ready()

        async def give(connection: AsyncConnection, to_owner: str) -> None:
            self._engine.seen.drop(session_id, from_owner)
            await self.store.transfer(connection, session_id, from_owner, to_owner)

        return give

    async def cleanup(self, call: ToolCall, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Removes sessions of the caller."""
        await self._ready()
        owner, now = owner_of(call.principal), self.store.clock()
        wanted = _text(arguments, "workflow_session_id", required=False)
        minutes = arguments.get("idle_minutes")
        if wanted is not None:
            if minutes is not None:
                raise InvalidArgumentsError(
                    "idle_minutes: this is for all sessions; leave it out, or workflow_session_id.",
                    field="idle_minutes",
                )
            chosen = [(await self.store.find(wanted, owner)).id]
        else:
            if "idle_minutes" in arguments and (
                isinstance(minutes, bool)
                or not isinstance(minutes, (int, float))
                or not 0 <= minutes <= _MAX_MINUTES
            ):
                raise InvalidArgumentsError(
                    f"idle_minutes: use a number from 0 to {_MAX_MINUTES}.", field="idle_minutes"
                )
            chosen = [
                each.id
                for each in await self.store.of(owner)
                if each.expires_at <= now
                or each.status == "compensated"
                or (minutes is not None and each.updated_at <= now - minutes * 60)
            ]
        removed = await self.store.remove(chosen, owner)
        for each in removed:
            self._engine.seen.drop(each, owner)
        return {"removed": len(removed), "workflow_session_ids": removed}

    async def _run_all(self, call: ToolCall, session_id: str) -> dict[str, Any]:
        owner = owner_of(call.principal)
        session = await self.store.find(session_id, owner)
        names = self._remaining(session)
        if session.workflow_type not in self.registry.templates:
            raise InvalidArgumentsError(
                f"run_all: there is no template '{shown(session.workflow_type)}'. Give step_name "
                "and step_config.",
                field="run_all",
                details={"templates": list(self.registry.templates)},
            )
        # It may take long, and a client that takes tasks need not wait for it.
        await call.peer.defer()
        results: dict[str, Any] = {}
        failed: dict[str, Any] = {}
        for number, name in enumerate(names, start=1):
            given = self._of_template(session, name)
            done = await self._engine.execute(call, session_id, name, given)
            if done["success"]:
                results[name] = done["result"]
            else:
                failed[name] = done["error"]
            await call.peer.progress(number, len(names), name)
        return {
            "success": not failed,
            "result": results,
            "workflow_session_id": session_id,
            **({"failed_steps": failed} if failed else {}),
        }

    def _of_template(self, session: Session, name: str) -> Any:
        template = self.registry.templates.get(session.workflow_type, {})
        if name not in template:
            known = f" The template has: {', '.join(template)}." if template else ""
            raise InvalidArgumentsError(
                f"step_config: this is required for the step {shown(name)}.{known}",
                field="step_config",
            )
        return template[name]

    def _remaining(self, session: Session) -> list[str]:
        template = self.registry.templates.get(session.workflow_type, {})
        done = {each.path for each in session.steps.values() if each.status == "done"}
        return [name for name in template if name not in done]

    @staticmethod
    def _overview(session: Session) -> dict[str, Any]:
        return {
            "workflow_session_id": session.id,
            "workflow_type": session.workflow_type,
            "agent_id": session.agent_id,
            "status": session.status,
            "created_at": _time(session.created_at),
            "updated_at": _time(session.updated_at),
            "expires_at": _time(session.expires_at),
        }

    async def _opened(self) -> tuple[RecordStore, bool]:
        return await self._records.own_store(), is_postgresql(self._records.database_url or "")

    async def _ready(self) -> None:
        """Makes the tables and imports the application's registry, once."""
        if self._prepared:
            return
        async with self._preparing:
            if self._prepared:
                return
            database = await self._state.database()
            from kailash_mcp_prod.sessions.workflow_tables import WORKFLOW_TABLES

            try:
                await database.prepare(WORKFLOW_TABLES, create=self._config.auto_migrate)
            except DatabaseStartupError as refusal:
                raise _unserved(refusal) from None
            try:
                # In a thread, because it imports the application's code.
                found = await asyncio.to_thread(load_registry, self._config.workflows)
            except (ConfigError, ModelError) as refusal:
                raise _unserved(refusal) from None
            if found is not None:
                self.registry.merge(found)
            self._prepared = True


def _unserved(refusal: Exception) -> ServerError:
    log.warning("workflows_not_served", reason=str(refusal))
    return UnservedError(
        "The server is not prepared for workflow sessions; its log says why.",
        retry_after_seconds=_LASTS_SECONDS,
    )


def _new_id(key: str | None, owner: str) -> str:
    if key is None:
        return f"wf_{secrets.token_urlsafe(24)}"
    # The same for the same key of the same owner, and of nobody else's making.
    return f"wf_{hashlib.sha256(f'{owner} {key}'.encode()).hexdigest()[:48]}"


def _unnamed(given: Any, name: str) -> Any:
    """The configuration of a step without its name, as scripts keep them together."""
    if not isinstance(given, Mapping) or "step_name" not in given:
        return given
    if given["step_name"] != name:
        raise InvalidArgumentsError(
            f"step_config.step_name: this is not the step_name {shown(name)}. Leave it out.",
            field="step_config.step_name",
        )
    return {key: value for key, value in given.items() if key != "step_name"}


def _text(arguments: Mapping[str, Any], name: str, *, required: bool = True) -> str | None:
    value = arguments.get(name)
    if name not in arguments and not required:
        return None
    good = isinstance(value, str) and 0 < len(value) <= _MAX_TEXT
    if not isinstance(value, str) or not good or not _storable(value):
        raise InvalidArgumentsError(f"{name}: use text of 1 to {_MAX_TEXT} characters.", field=name)
    return value


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def _flag(arguments: Mapping[str, Any], name: str) -> bool:
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise InvalidArgumentsError(f"{name}: use true or false.", field=name)
    return value


def _step(step: Step, now: float, *, with_results: bool) -> dict[str, Any]:
    status: str = step.status
    if status == "running" and step.lease_until <= now:
        status = "interrupted"
    told: dict[str, Any] = {
        "step_name": step.path,
        "step_number": step.number,
        "type": step.type,
        "status": status,
        "started_at": _time(step.started_at),
        "finished_at": None if step.finished_at is None else _time(step.finished_at),
    }
    if step.error is not None:
        told["error"] = step.error
    if with_results and step.status == "done":
        told["result"] = None if step.result is None else step.value()
    return told


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
