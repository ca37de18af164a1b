"""What the log tells of a call beside its outcome: arguments if wanted, decisions at DEBUG."""

from __future__ import annotations

from typing import Any, Final

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.observe.log_masking import masked, shape
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.tools.kinds import kind_of
from kailash_mcp_prod.tools.registry import ToolRegistry

log = get_logger("kailash_mcp_prod.decisions")

_SAY_WHY: Final = frozenset({"rate_limited", "overloaded", "circuit_open", "timeout"})
_LEFT_OUT: Final = "not a tool that the caller may use"


class CallDetails:
    """Arguments and the shape of the result, masked.

    Args:
        policy: Its rules hide fields; what one rule hides from anybody, the log shows nobody.
    """

    def __init__(self, policy: Policy) -> None:
        self._hidden: dict[str, set[str]] = {}
        for model, rule in policy.rules_by_model():
            self._hidden.setdefault(model, set()).update(rule.hide)
        self._all = frozenset().union(*self._hidden.values())

    def __call__(self, report: CallReport) -> dict[str, Any]:
        """What is told of a call."""
        tool = report.tool
        # A step of a workflow names its model in its arguments, so all that is hidden is.
        of_model = tool is not None and tool.operation is not None
        hidden = self._hidden.get(tool.group, ()) if tool is not None and of_model else self._all
        told: dict[str, Any] = {"arguments": masked(report.call.arguments, hidden)}
        if report.result is not None:
            told["result"] = shape(report.result)
        return told


class Decisions:
    """Tells at DEBUG what decided about a call, in words and without values of arguments.

    Args:
        policy: What a caller may do.
        registry: The tools.
        rates: How often.
        breakers: Which circuits are open.
        caches: Whether there is a cache.
    """

    def __init__(
        self,
        policy: Policy,
        registry: ToolRegistry,
        rates: RateLimit,
        breakers: Breakers,
        *,
        caches: bool,
    ) -> None:
        self._policy = policy
        self._registry = registry
        self._rates = rates
        self._breakers = breakers
        self._caches = caches

    def __call__(self, report: CallReport) -> None:
        """Tells it of a call that is over."""
        log.debug(
            "decision",
            request_id=report.call.request_id,
            agent=report.call.principal.subject,
            called=report.name[:128],
            outcome=report.outcome,
            policy=self._of_policy(report),
            limits=self._of_limits(report),
            breaker=self._of_breakers(report),
            cache=self._of_cache(report),
            surface=self._of_surface(report),
            **self._of_refusal(report),
        )

    def _of_refusal(self, report: CallReport) -> dict[str, str]:
        error = report.error
        # Others may quote what the caller has sent.
        return {} if error is None or error.code not in _SAY_WHY else {"refusal": error.message}

    def _of_policy(self, report: CallReport) -> str:
        access = self._policy.access(report.call.principal)
        tool = report.tool
        if tool is None:
            wanted = self._registry.get(report.name)
            if wanted is None:
                return _LEFT_OUT
            missing = access.missing(wanted)
            if missing:
                return f"no grant covers {', '.join(missing)}"
            if access.read_only and not wanted.read_only:
                return "the tool changes something, and the caller may only read"
            return "granted, and not reached" if report.error is not None else _LEFT_OUT
        grants = sorted({grant for each in tool.permissions if (grant := access.grant_for(each))})
        rules = access.rules.get(tool.group, ())
        granted = f"granted by {', '.join(grants)}" if grants else "needs no grant"
        if f"tool:{tool.name}" in access.grants:
            granted = f"granted by tool:{tool.name}"
        bounds = [
            *(f"rows by {', '.join(sorted(rule.rows))}" for rule in rules if rule.rows),
            *(f"hides {', '.join(sorted(rule.hide))}" for rule in rules if rule.hide),
        ]
        return "; ".join([granted, *bounds])

    def _of_limits(self, report: CallReport) -> str:
        kind = None if report.tool is None else kind_of(report.tool)
        left = self._rates.left(report.call.principal, kind)
        return ", ".join(f"{count} of {limit} left {whose}" for whose, count, limit in left)

    def _of_breakers(self, report: CallReport) -> str:
        tool = report.tool
        if tool is None:
            return "not asked"
        named = {tool.backend: tool.backend, f"tool:{tool.name}": "the tool"}
        open_ones = [what for name, what in named.items() if name in self._breakers.unclosed()]
        return f"open: {', '.join(map(str, open_ones))}" if open_ones else "closed"

    def _of_cache(self, report: CallReport) -> str:
        tool = report.tool
        if report.from_cache:
            return "answered from the cache"
        if not self._caches:
            return "off"
        if tool is None or tool.operation is None or not tool.read_only:
            return "not a read of records"
        return "asked the database"

    def _of_surface(self, report: CallReport) -> str:
        tool = report.tool
        if tool is None or tool.name == report.name:
            return "the name is the tool's own"
        return f"stands for {tool.name}"
