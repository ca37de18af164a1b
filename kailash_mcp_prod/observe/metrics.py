"""`ServerMetrics`: the place for metrics of your own beside those of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from kailash_mcp_prod.tools.call_reports import CallReport


class ServerMetrics:
    """The metrics that an application adds to those of its server.

    What is registered in `registry` is exported with the server's own metrics, in all formats; with
    several workers counters and histograms are added up, and gauges get a label `pid`. `call_ended`
    hears of every call of a tool. Give each server an instance of its own.

    Example:
        ```python
        class ShopMetrics(ServerMetrics):
            def __init__(self) -> None:
                super().__init__()
                self.orders = Counter(
                    "shop_orders", "Orders placed.", ["country"], registry=self.registry
                )

            def call_ended(self, report: CallReport) -> None:
                if report.name == "Order_create" and report.outcome == "ok":
                    self.orders.labels(report.result["country"]).inc()

        server = ProductionMCPServer(config, metrics=ShopMetrics())
        ```
    """

    def __init__(self) -> None:
        self._registry: CollectorRegistry | None = None

    @property
    def registry(self) -> CollectorRegistry:
        """A registry of Prometheus's library, which nobody else uses.

        The names of its metrics must not begin with `mcp_` or `process_`.
        """
        if self._registry is None:
            # Late, because a server that nobody scrapes needs none of it.
            from prometheus_client import CollectorRegistry

            self._registry = CollectorRegistry()
        return self._registry

    @property
    def has_own(self) -> bool:
        """Whether anybody has asked for the registry."""
        return self._registry is not None

    def call_ended(self, report: CallReport) -> None:
        """Hears of every call of a tool when it is over, on the event loop; must be quick.

        Args:
            report: The call. `report.tool` is `None` where the name led to none, and
                `report.outcome` is `ok`, the code of an error, `cancelled` or `input_required`.
        """
