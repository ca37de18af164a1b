// Workspaces: who takes part and how much there is. What is written there stays theirs.

import { get } from "../api.js";
import { h } from "../dom.js";
import { bytes, count, plural, since, when } from "../format.js";
import { badge, card, empty, table } from "../ui.js";

const member = (each) =>
  h("li", { class: "row" }, h("strong", { class: "wrap" }, each.agent_id), h("span", { class: "muted small" }, each.role), each.state === "invited" && badge("warn", "invited"));

function workspace(each) {
  return h(
    "section",
    { class: "card", "data-key": each.workspace_id },
    h("header", {}, h("h2", { class: "wrap" }, each.name || "Without a name"), h("div", { class: "aside" }, "changed ", since(each.changed_at))),
    h(
      "div",
      { class: "inside stack tight" },
      h("p", { class: "mono small muted wrap" }, each.workspace_id),
      h("h3", {}, `Members (${count(each.members.length)})`),
      h("ul", { class: "stack tight" }, each.members.map(member)),
      h(
        "dl",
        { class: "facts" },
        h("dt", {}, "Blackboard"),
        h("dd", {}, `${plural(each.entries, "entry", "entries")}, ${bytes(each.board_bytes)}`),
        h("dt", {}, "Messages that wait"),
        h("dd", {}, count(each.messages)),
        h("dt", {}, "Revision"),
        h("dd", {}, count(each.revision)),
        h("dt", {}, "Ends"),
        h("dd", {}, when(each.expires_at)),
      ),
      each.leases.length > 0 && [
        h("h3", {}, "Leases"),
        h("ul", {}, each.leases.map((one) => h("li", { class: "wrap" }, `${one.agent_id} works on a ${one.model}, `, h("span", { class: "muted" }, "until ", since(one.expires_at))))),
      ],
      h(
        "details",
        {},
        h("summary", {}, "Last changes"),
        each.changes.length
          ? table("Changes", [
              { label: "When", cell: (one) => since(one.at) },
              { label: "Who", cell: (one) => h("span", { class: "wrap" }, one.agent_id) },
              { label: "What", cell: (one) => one.action },
            ], each.changes)
          : h("p", { class: "muted" }, "None is kept."),
      ),
    ),
  );
}

export default {
  nav: "Workspaces",
  needs: "sessions",
  title: () => "Workspaces",
  load: () => get("workspaces"),
  every: () => 3000,
  view: (data) =>
    data.workspaces.length
      ? [data.more && h("p", { class: "muted" }, "The 200 that changed last."), h("div", { class: "grid" }, data.workspaces.map(workspace))]
      : card(null, {}, empty("No workspaces", "An agent makes one with enable_agent_collaboration, and invites others by their agent_id.")),
};
