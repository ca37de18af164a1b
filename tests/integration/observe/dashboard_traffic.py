"""Traffic whose numbers are known, driven through a server as its clients would."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from kailash_mcp_prod import ProductionMCPServer
from tests.integration.observe.dashboards import ADMIN, CLERK, HOSTILE, NOBODY, call

FAILURES: Final = 3
SETTINGS: Final[dict[str, Any]] = {
    "circuit_breaker_failure_threshold": FAILURES,
    "circuit_breaker_recovery_seconds": 600,
    "enable_caching": True,
}
_READ: Final = {"type": "dataflow_operation", "model": "Company", "operation": "list"}
_MISSING: Final = {**_READ, "operation": "delete", "parameters": {"id": "none"}}


class Traffic:
    """Drives a server, and counts what it does.

    `calls` and `failed` are by tool, `agents` by key, without the parts of others; `audited` is how
    many entries the audit has to have, by key.

    Args:
        server: It.
        folder: Where its database is.
    """

    def __init__(self, server: ProductionMCPServer, folder: Path) -> None:
        self.server = server
        self.database = folder / "dashboard.db"
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.agents: Counter[str] = Counter()
        self.audited: Counter[str] = Counter()
        self.session_id = ""
        self.workflow_id = ""

    def count(self, key: str, tool: str, *, failed: bool = False, audited: bool = False) -> None:
        """Counts a call."""
        self.calls[tool] += 1
        self.failed[tool] += failed
        self.agents[key] += 1
        self.audited[key] += audited

    def make(
        self,
        key: str,
        tool: str,
        failing: str | None = None,
        *,
        audited: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """Makes one call, which has to end as expected."""
        found = call(self.server, key, tool, **given)
        assert found.get("error", {}).get("code") == failing, found
        self.count(key, tool, failed=failing is not None, audited=audited)
        return found

    def drive(self) -> None:
        """Agents work, in a session, in a workspace and in workflow sessions; some things fail."""
        self._records()
        self._workspace()
        self._workflow()
        self._breakdown()

    def _records(self) -> None:
        who = {"name": HOSTILE, "capabilities": ["sales", "quotes"]}
        made = self.make(CLERK, "create_agent_session", audited=True, agent_info=who)
        self.session_id = made["session_id"]
        for name in (HOSTILE, "Nordbau GmbH", "Müller & Söhne"):
            data = {"name": name, "size": 3}
            within = {"_session_id": self.session_id}
            self.make(CLERK, "Company_create", audited=True, data=data, **within)
        self.make(CLERK, "Company_create", "invalid_arguments", audited=True, data={"nam": "x"})
        for _ in range(4):
            self.make(CLERK, "Company_list")
        # What one may not call is as if it were not there, and stands in the audit.
        self.make(NOBODY, "Company_list", "not_found", audited=True)

    def _workspace(self) -> None:
        agents = [{"agent_id": HOSTILE, "role": "member"}]
        self.make(
            ADMIN, "enable_agent_collaboration", audited=True, name="Quotes of May", agents=agents
        )

    def _workflow(self) -> None:
        made = self.make(
            ADMIN, "create_agent_workflow_session", audited=True, workflow_type="onboarding"
        )
        self.workflow_id = made["workflow_session_id"]
        self._step("find", _READ)
        self._step("check", {"type": "parallel", "steps": {"size": _READ, "name": _READ}})
        order = {"type": "sequence", "steps": {"look": _READ, "remove": _MISSING}}
        self._step("clean", order, "not_found")
        # The part of it that would have written.
        self.audited[ADMIN] += 1

    def _step(self, name: str, config: dict[str, Any], failing: str | None = None) -> None:
        given = {"workflow_session_id": self.workflow_id, "step_name": name, "step_config": config}
        self.make(ADMIN, "execute_workflow_step", failing, audited=True, **given)

    def _breakdown(self) -> None:
        """The table is gone for a while; the circuit of a tool opens."""
        with closing(sqlite3.connect(self.database)) as database:
            database.execute("ALTER TABLE companies RENAME TO away")
            for _ in range(FAILURES):
                self.make(ADMIN, "Company_read", "internal", id="any")
            database.execute("ALTER TABLE away RENAME TO companies")
        self.make(ADMIN, "Company_read", "circuit_open", id="any")
