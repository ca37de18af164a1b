// Workflow sessions, and one of them as a graph.

import { get, root } from "../api.js";
import { h, icon } from "../dom.js";
import { count, plural, since, when } from "../format.js";
import { STATES, graph, took, treeOf } from "../graph.js";
import { badge, card, empty, refusal, table, tile, tiles } from "../ui.js";

const SESSION = { active: ["busy", "active"], compensating: ["warn", "being undone"], compensated: ["idle", "undone"], compensation_failed: ["bad", "could not be undone"] };
const STEP = { done: "ok", failed: "bad", running: "busy", interrupted: "warn", left: "idle" };

const sessionBadge = (status) => badge(...(SESSION[status] ?? ["idle", status]));
const stepBadge = (status) => badge(STEP[status] ?? "idle", STATES[status]?.[1] ?? status);

function list(data) {
  if (!data.workflow_sessions.length) {
    return card(null, {}, empty("No workflow sessions", "An agent starts one with create_agent_workflow_session and does its steps with execute_workflow_step."));
  }
  return card(
    "Sessions",
    { id: "sessions", flush: true, aside: `${data.more ? "the last " : ""}${plural(data.workflow_sessions.length, "session")}` },
    table(
      "Workflow sessions",
      [
        { label: "Session", cell: (each) => [h("a", { class: "wrap", href: `${root}/workflows/${encodeURIComponent(each.workflow_session_id)}` }, each.workflow_type || "workflow"), h("span", { class: "sub mono wrap" }, each.workflow_session_id)] },
        { label: "Agent", cell: (each) => h("span", { class: "wrap" }, each.subject ?? each.agent_id ?? "–") },
        { label: "State", cell: (each) => sessionBadge(each.status) },
        { label: "Steps", cell: (each) => h("div", { class: "chips" }, Object.entries(each.steps).map(([status, many]) => badge(STEP[status] ?? "idle", `${count(many)} ${status}`)), !Object.keys(each.steps).length && h("span", { class: "muted" }, "none yet")) },
        { label: "Went on", cell: (each) => since(each.updated_at) },
      ],
      data.workflow_sessions,
      (each) => each.workflow_session_id,
    ),
  );
}

/* Each step before those inside of it. */
const inOrder = (steps) => steps.flatMap((step) => [step, ...inOrder(step.inside)]);

function one(session) {
  const top = session.steps.filter((step) => !step.path.includes("/"));
  const of = (status) => top.filter((step) => step.status === status).length;
  return [
    h("div", { class: "row" }, h("a", { class: "button", href: `${root}/workflows` }, icon("back", "small"), "All sessions"), sessionBadge(session.status), h("span", { class: "mono small muted wrap" }, session.workflow_session_id)),
    session.error && refusal({ code: session.error.code ?? "error", message: session.error.message ?? "" }),
    tiles(
      tile("Done", count(of("done")), plural(top.length, "step")),
      tile("Failed", count(of("failed") + of("interrupted")), "or interrupted"),
      tile("Agent", h("span", { class: "wrap small" }, session.subject ?? session.agent_id ?? "–")),
      tile("Started", h("span", { class: "small" }, since(session.created_at)), h("span", {}, "kept until ", when(session.expires_at))),
    ),
    card("Steps", { id: "graph" }, session.steps.length ? graph(session.steps) : empty("No step yet", "The agent does steps with execute_workflow_step.")),
    session.more && h("p", { class: "muted" }, "The first 500 steps."),
    session.steps.length > 0 &&
      card(
        "Step by step",
        { id: "steps", flush: true },
        table(
          "Steps",
          [
            { label: "Step", cell: (step) => [h("strong", { class: "wrap" }, step.path), h("span", { class: "sub" }, step.type)] },
            { label: "State", cell: (step) => [stepBadge(step.status), step.undoable && h("span", { class: "sub" }, "can be undone")] },
            { label: "Started", cell: (step) => when(step.started_at) },
            { label: "Took", end: true, cell: (step) => took(step) ?? "–" },
            { label: "Error", cell: (step) => (step.error ? [h("code", {}, step.error.code), h("span", { class: "sub wrap" }, step.error.message)] : "–") },
          ],
          inOrder(treeOf(session.steps)),
          (step) => step.path,
        ),
      ),
  ];
}

export default {
  nav: "Workflows",
  needs: "workflows",
  title: (visit) => (visit.rest ? (visit.data?.workflow_type || "Workflow session") : "Workflow sessions"),
  load: (visit) => get(visit.rest ? `workflows/${encodeURIComponent(visit.rest)}` : "workflows"),
  every: () => 2000,
  view: (data, visit) => (visit.rest ? one(data) : list(data)),
};
