// The Nexus app that carries the server: its workflows, their runs and their circuits.

import { get } from "../api.js";
import { h } from "../dom.js";
import { count, duration, plural } from "../format.js";
import { badge, card, empty, healthBadge, table, tile } from "../ui.js";

const STATES = { closed: ["ok", "closed"], open: ["bad", "open"], half_open: ["warn", "half open"] };

const circuit = (each) => [
  badge(...(STATES[each.state] ?? ["idle", each.state])),
  each.state === "open" && h("span", { class: "sub" }, each.retry_after_seconds ? `next try in ${duration(each.retry_after_seconds * 1000)}` : "next try with the next call"),
  each.state === "closed" && each.failures > 0 && h("span", { class: "sub" }, `${plural(each.failures, "failure")} in a row`),
];

const took = (each, value) => (each.calls ? duration(value) : "–");

export default {
  nav: "Nexus",
  needs: "monitor",
  integration: "nexus",
  title: () => "Nexus",
  load: () => get("integrations/nexus"),
  every: () => 2000,
  view: (data) => [
    data.own_mcp_port &&
      h("div", { class: "banner", role: "alert" }, h("p", {}, `Nexus's own MCP server listens on port ${data.own_mcp_port}. It asks nobody for a credential and runs every workflow. Close that port.`)),
    h(
      "div",
      { class: "tiles" },
      tile("Readiness", healthBadge(data.status), data.reason ?? `at ${data.prefix}`),
      tile("Workflows", count(data.count), "registered"),
      tile("Runs", count(data.calls), `${took(data, data.average_response_time_ms)} on average`),
      tile("Failed", count(data.errors), "since the start"),
      tile("Left alone", count(data.circuits.open + data.circuits.half_open), "because they failed again and again"),
    ),
    card(
      "Workflows",
      { id: "nexus-workflows", flush: true, aside: data.more ? `the first ${count(data.workflows.length)}` : plural(data.count, "workflow") },
      data.workflows.length
        ? table(
            "Workflows",
            [
              { label: "Workflow", cell: (each) => [h("strong", { class: "wrap" }, each.name), each.description && h("span", { class: "sub wrap" }, each.description)] },
              { label: "Circuit", cell: (each) => circuit(each.circuit) },
              { label: "Runs", end: true, cell: (each) => h("span", { "data-figure": "calls" }, count(each.calls)) },
              { label: "Failed", end: true, cell: (each) => h("span", { "data-figure": "errors" }, count(each.errors)) },
              { label: "Average", end: true, cell: (each) => took(each, each.average_response_time_ms) },
              { label: "Slowest", end: true, cell: (each) => took(each, each.slowest_response_time_ms) },
            ],
            data.workflows,
            (each) => each.name,
          )
        : empty("No workflows yet", "Register one with the Nexus app; it appears here by itself."),
    ),
  ],
};
