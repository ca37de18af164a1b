// The overview: how the server is and what it does, at a glance.

import { get, root } from "../api.js";
import { lineChart } from "../charts.js";
import { h } from "../dom.js";
import { bytes, count, duration, number, percent, plural } from "../format.js";
import { badge, card, empty, healthBadge, name, table, tile, tiles } from "../ui.js";

const each = (steps, name) => steps.map((step) => step[name] ?? null);

function charts(data, visit) {
  const past = visit.state.range === "history";
  const steps = past ? data.history : data.steps;
  const choose = (range) => () => { visit.state.range = range; visit.update(); };
  const bar = h(
    "div",
    { class: "row between" },
    h("h2", {}, past ? `Since ${data.history.length ? new Date(data.history[0].at * 1000).toLocaleTimeString() : "the start"}` : "The last five minutes"),
    h(
      "div",
      { class: "tabs", role: "group", "aria-label": "Time of the charts" },
      h("button", { type: "button", "aria-pressed": String(!past), on: { click: choose("live") } }, "live"),
      h("button", { type: "button", "aria-pressed": String(past), on: { click: choose("history") } }, "history"),
    ),
  );
  if (steps.length < 2) {
    return [bar, card(null, {}, empty("Not much to draw yet", past ? `A point is added every ${duration(data.interval_seconds * 1000)}.` : "The first points appear within seconds."))];
  }
  const at = each(steps, "at");
  const plot = (title, series, options) => card(title, { level: "h3" }, lineChart(title, at, series, options));
  const ms = (value) => duration(value === null ? null : value);
  return [
    bar,
    h(
      "div",
      { class: "charts" },
      plot("Calls per second", [{ label: "calls", values: each(steps, "calls_per_second") }, { label: "failed", values: each(steps, "errors_per_second") }], { format: number }),
      plot("Latency", past ? [{ label: "average", values: each(steps, "average_ms") }, { label: "95 %", values: each(steps, "p95_ms") }] : [{ label: "50 %", values: each(steps, "p50_ms") }, { label: "95 %", values: each(steps, "p95_ms") }, { label: "99 %", values: each(steps, "p99_ms") }], { format: ms }),
      plot("Event-loop lag", [{ label: "lag", values: each(steps, "lag_ms") }], { format: ms, floor: 10 }),
      !past && plot("Connections to the database", [{ label: "in use", values: each(steps, "pool_in_use") }], { format: number, floor: 4 }),
      !past && plot("Reads from the cache", [{ label: "hits", values: each(steps, "cache_percent") }], { format: percent, ceiling: 100 }),
      plot("Calls that run", [{ label: "running", values: each(steps, "running") }], { format: number, floor: 4 }),
      past && plot("Memory", [{ label: "resident", values: each(steps, "memory_mb") }], { format: (value) => (value === null ? "–" : bytes(value * 1024 * 1024)), floor: 64 }),
    ),
  ];
}

const WORDS = { event_loop: "Event loop", rate_limits: "Rate limits", circuit_breakers: "Circuit breakers", state: "State store", redis: "Redis" };
const named = (name) => WORDS[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

const UNITS = { mb: (value) => bytes(value * 1024 * 1024), ms: duration, seconds: (value) => duration(value * 1000), percent };

/* `free_mb: 2048` as "free 2 GiB". */
function reading(name, value) {
  const words = name.split("_");
  const unit = typeof value === "number" ? UNITS[words.at(-1)] : undefined;
  if (unit) words.pop();
  return [...words, unit ? unit(value) : typeof value === "number" ? number(value) : value].join(" ");
}

function detail(component) {
  const { status, ...rest } = component;
  return Object.entries(rest)
    .filter(([, value]) => typeof value !== "object" && value !== null)
    .map(([name, value]) => reading(name, value))
    .join(", ");
}

const components = (health) =>
  h(
    "ul",
    { class: "stack tight" },
    Object.entries(health.components).map(([name, component]) =>
      h("li", { class: "row between whole", "data-component": name }, h("div", {}, h("strong", {}, named(name)), detail(component) && h("div", { class: "muted small wrap" }, detail(component))), healthBadge(component.status)),
    ),
  );

function running(data) {
  if (!data.running.length) return empty("Nothing runs", "Calls that take a while appear here with whose they are.");
  return table("Calls that run", [
    { label: "Agent", cell: (one) => h("strong", { class: "wrap" }, one.subject) },
    { label: "Tool", cell: (one) => [name(one.tool ?? "…"), one.is_part && h("span", { class: "sub" }, "part of another call")] },
    { label: "For", end: true, cell: (one) => duration(one.seconds * 1000) },
  ], data.running);
}

function tools(data) {
  if (!data.tools.length) return empty("No calls yet", "Call a tool, or try one on the page Tools.", h("a", { class: "button", href: `${root}/tools` }, "Tools"));
  return table("Tools that are called most", [
    { label: "Tool", cell: (one) => h("a", { href: `${root}/tools/${encodeURIComponent(one.tool)}` }, name(one.tool)) },
    { label: "Calls", end: true, cell: (one) => count(one.calls) },
    { label: "Failed", end: true, cell: (one) => (one.errors ? badge("bad", percent(one.error_rate_percent)) : "0 %") },
    { label: "95 % within", end: true, cell: (one) => duration(one.p95_response_time_ms) },
  ], data.tools, (one) => one.tool);
}

export default {
  nav: "Overview",
  needs: "monitor",
  title: () => "Overview",
  load: () => get("overview"),
  every: () => 1500,
  view: (data, visit) => {
    const { server, sessions } = data;
    return [
      server
        ? tiles(
            tile("Calls", count(server.total_requests), `${number(data.steps.at(-1)?.calls_per_second ?? 0)} a second now`),
            tile("Failed", count(server.failed_requests), `${percent(server.error_rate_percent)} of all calls`),
            tile("95 % within", duration(server.p95_response_time_ms), `half within ${duration(server.p50_response_time_ms)}`),
            tile("From the cache", percent(server.cache_hit_ratio * 100), "of reads that can be"),
            tile("Agent sessions", count(sessions.active_sessions), `${count(Object.values(sessions.workflow_sessions ?? {}).reduce((sum, one) => sum + one, 0))} of workflows`),
            tile("Running for", duration(server.uptime_seconds * 1000), `${plural(server.workers, "worker")}, ${bytes(server.memory_usage_mb * 1024 * 1024)}`),
          )
        : h("div", { class: "card" }, empty("Nothing is counted", "The setting enable_metrics is off. Turn it on to see figures and charts here.")),
      server && charts(data, visit),
      h(
        "div",
        { class: "split" },
        h("div", { class: "stack tight" }, card("Tools that are called most", { id: "most", flush: true, aside: "with the steps of workflows" }, tools(data)), card("Calls that run now", { id: "now", flush: true }, running(data))),
        card("Health", { id: "components", aside: healthBadge(data.health.health_status) }, components(data.health)),
      ),
    ];
  },
};
