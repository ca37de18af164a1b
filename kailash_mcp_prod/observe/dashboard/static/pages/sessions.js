// Agents: what each does now and has left of its limits; and their sessions.

import { get, post } from "../api.js";
import { h } from "../dom.js";
import { count, duration, plural, since } from "../format.js";
import { badge, card, confirmed, empty, meter, name, outcomeBadge, table, toast } from "../ui.js";

const doing = (running) =>
  running.length
    ? h("div", { class: "chips" }, running.map((each) => badge("busy", each.count > 1 ? `${each.tool} ×${each.count}` : (each.tool ?? "…"))))
    : h("span", { class: "muted" }, "idle");

const limit = (each) => h("div", {}, each.kind && h("span", { class: "sub" }, each.kind), meter(each.used, each.limit, `${count(each.left)} of ${count(each.limit)} left`));

function agents(data) {
  if (!data.agents.length) {
    return empty("No agent has called yet", "Connect one to /mcp; it appears here with its first call.");
  }
  return table(
    "Agents",
    [
      { label: "Agent", cell: (each) => [h("strong", { class: "wrap" }, each.subject), each.tenant && h("span", { class: "sub" }, `tenant ${each.tenant}`)] },
      { label: "Now", cell: (each) => doing(each.running) },
      { label: "Last call", cell: (each) => [name(each.last.tool), " ", outcomeBadge(each.last.outcome), h("span", { class: "sub" }, since(each.last.at), `, took ${duration(each.last.seconds * 1000)}`)] },
      { label: "Calls", end: true, cell: (each) => h("span", { "data-figure": "calls" }, count(each.calls)) },
      { label: "Failed", end: true, cell: (each) => h("span", { "data-figure": "errors" }, count(each.errors)) },
      { label: "Calls left this minute", cell: (each) => each.limits.map(limit) },
    ],
    data.agents,
    (each) => each.subject,
  );
}

async function end(session, visit) {
  const sure = await confirmed(
    "End this session?",
    `The session of ${session.agent_id} ends for good, and what it keeps in its context is gone.`,
    "End session",
  );
  if (!sure) return;
  try {
    await post(`sessions/${encodeURIComponent(session.session_id)}/end`);
    toast("The session has ended.");
  } catch (error) {
    if (!error.error) throw error;
    toast(error.message);
  }
  setTimeout(() => visit.refresh(), 1100);
}

function sessions(data, visit) {
  if (!data.sessions.length) {
    return empty("No open sessions", "An agent begins one with create_agent_session, and counts its calls there with _session_id.");
  }
  return table(
    "Sessions",
    [
      {
        label: "Session",
        cell: (each) => [
          h("strong", { class: "wrap" }, each.name || each.agent_id),
          each.own && [" ", badge("idle", "yours")],
          h("span", { class: "sub mono wrap" }, each.session_id),
          each.capabilities.length > 0 && h("div", { class: "chips" }, each.capabilities.slice(0, 6).map((one) => h("span", { class: "chip" }, one))),
        ],
      },
      { label: "Agent", cell: (each) => h("span", { class: "wrap" }, each.subject ?? each.agent_id) },
      { label: "Now", cell: (each) => doing(each.running.map((one) => ({ tool: one.tool, count: 1 }))) },
      { label: "Last activity", cell: (each) => [since(each.last_activity), h("span", { class: "sub" }, "ends ", since(each.expires_at))] },
      { label: "Calls", end: true, cell: (each) => count(each.request_count) },
      { label: "Failed", end: true, cell: (each) => count(each.error_count) },
      { label: "Average", end: true, cell: (each) => duration(each.request_count ? each.average_response_time_ms : null) },
      {
        label: "Action",
        whole: true,
        cell: (each) =>
          (visit.may.manage || each.own) &&
          h("button", { type: "button", class: "danger compact", "aria-label": `End the session ${each.session_id}`, on: { click: () => end(each, visit) } }, "End"),
      },
    ],
    data.sessions,
    (each) => each.session_id,
  );
}

export default {
  nav: "Agents",
  needs: "sessions",
  title: () => "Agents and sessions",
  load: () => get("sessions"),
  every: () => 2000,
  view: (data, visit) => [
    card("Agents", { id: "agents", flush: true, aside: plural(data.agents.length, "agent") }, agents(data)),
    card(
      "Open sessions",
      { id: "open-sessions", flush: true, aside: `${data.more ? "the last " : ""}${plural(data.sessions.length, "session")}, each ends after ${duration(data.timeout_seconds * 1000)} without a call` },
      sessions(data, visit),
    ),
  ],
};
