// Circuit breakers, rate limits and places to run in.

import { get } from "../api.js";
import { h } from "../dom.js";
import { count, duration, plural } from "../format.js";
import { badge, card, empty, healthBadge, meter, table } from "../ui.js";

const STATES = { closed: ["ok", "closed: calls go through"], open: ["bad", "open: calls are refused"], half_open: ["warn", "half open: one call tries"] };

const SETTINGS = {
  max_concurrent_requests: ["Calls that run at once", count],
  request_timeout_seconds: ["A call may take", (value) => duration(value * 1000)],
  rate_limit_per_minute: ["Calls a minute of one agent", count],
  circuit_breaker_failure_threshold: ["Failures that open a circuit", count],
  circuit_breaker_recovery_seconds: ["A circuit stays open for", (value) => duration(value * 1000)],
};

export default {
  nav: "Limits",
  needs: "monitor",
  title: () => "Breakers and limits",
  load: () => get("limits"),
  every: () => 1500,
  view: (data) => [
    h(
      "div",
      { class: "thirds" },
      card("Calls that run", { id: "running" }, meter(data.concurrency.running, data.concurrency.limit), h("p", { class: "muted small" }, `${count(data.concurrency.waiting)} wait for a place`)),
      card("Turns at the database", { id: "turns" }, meter(data.database.running, data.database.limit), h("p", { class: "muted small" }, `${count(data.database.waiting)} wait for a turn`)),
      card(
        "Counting of calls",
        { id: "counting", aside: healthBadge(data.rates.status) },
        h("p", {}, data.rates.storage === "redis" ? "All replicas count together in Redis." : data.rates.storage === "local" ? "Redis does not answer: this replica counts by itself." : "This replica counts by itself."),
        data.everybody && [h("p", { class: "muted small" }, "All agents together"), meter(data.everybody.used, data.everybody.limit)],
      ),
    ),
    card(
      "Circuits",
      { id: "circuits", flush: true },
      data.circuits.length
        ? table(
            "Circuits",
            [
              { label: "Of", cell: (each) => [h("strong", { class: "wrap" }, each.name), h("span", { class: "sub" }, each.kind)] },
              { label: "State", cell: (each) => badge(...(STATES[each.state] ?? ["idle", each.state])) },
              { label: "Failures in a row", end: true, cell: (each) => (each.state === "closed" ? count(each.failures) : "–") },
              { label: "Next try", end: true, cell: (each) => (each.state === "closed" ? "–" : each.retry_after_seconds ? `in ${duration(each.retry_after_seconds * 1000)}` : "with the next call") },
            ],
            data.circuits,
            (each) => each.name,
          )
        : empty("All circuits are closed", `Nothing has failed since the start. After ${plural(data.settings.circuit_breaker_failure_threshold, "failure")} in a row a backend or a tool is left alone for ${duration(data.settings.circuit_breaker_recovery_seconds * 1000)}.`),
    ),
    card(
      "Who is near a limit",
      { id: "near", flush: true, aside: "calls of the last minute, here" },
      data.agents.length
        ? table(
            "Limits of agents",
            [
              { label: "Agent", cell: (each) => h("strong", { class: "wrap" }, each.subject) },
              { label: "All calls", cell: (each) => meter(each.limits[0].used, each.limits[0].limit) },
              { label: "By kind", cell: (each) => (each.limits.length > 1 ? each.limits.slice(1).map((one) => h("div", {}, h("span", { class: "sub" }, one.kind), meter(one.used, one.limit))) : h("span", { class: "muted" }, "no limits of kinds")) },
            ],
            data.agents,
            (each) => each.subject,
          )
        : empty("No calls yet", "Agents appear here with their first call."),
    ),
    card("Settings", { id: "settings" }, h("dl", { class: "facts" }, Object.entries(SETTINGS).map(([name, [label, format]]) => [h("dt", {}, label, " ", h("code", { class: "small" }, name)), h("dd", { class: "num" }, format(data.settings[name]))]))),
  ],
};
