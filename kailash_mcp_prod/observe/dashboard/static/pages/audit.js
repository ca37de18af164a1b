// The audit: who changed what, and who was denied what.

import { get, post } from "../api.js";
import { h, icon } from "../dom.js";
import { count, plural, since, when } from "../format.js";
import { badge, card, code, empty, name, opened, outcomeBadge, refusal, table } from "../ui.js";

const TEXTS = { agent: "Agent", tool: "Tool", model: "Model", target: "Record id", outcome: "Outcome", request_id: "Request id" };
const TIMES = { since: "From", until: "Until" };

function parameters(filters, before) {
  const found = new URLSearchParams();
  for (const name of Object.keys(TEXTS)) if (filters[name]?.trim()) found.set(name, filters[name].trim());
  for (const name of Object.keys(TIMES)) if (filters[name]) found.set(name, new Date(filters[name]).toISOString());
  if (before) found.set("before", before);
  const text = found.toString();
  return text ? `audit?${text}` : "audit";
}

async function verify(visit) {
  const { state } = visit;
  Object.assign(state, { verifying: true, verified: null, failure: null });
  visit.update();
  try {
    state.verified = await post("audit/verify");
  } catch (error) {
    if (!error.error) throw error;
    state.failure = error.error;
  }
  state.verifying = false;
  visit.update();
}

async function more(visit) {
  try {
    const older = await get(parameters(visit.state.filters, visit.data.before));
    visit.data = { ...older, last: visit.data.last, entries: [...visit.data.entries, ...older.entries] };
    visit.state.paged = true;
  } catch (error) {
    if (!error.error) throw error;
    visit.state.failure = error.error;
  }
  visit.update();
}

function verdict(found) {
  if (!found) return null;
  if (found.holds) {
    return h("div", { class: "banner ok", role: "status" }, icon("ok"), h("div", {}, h("p", {}, `All ${plural(found.count, "entry", "entries")} are there as they were stored, ${count(found.sealed)} of them sealed.`), h("p", { class: "wrap" }, "Anchor: ", h("code", {}, found.anchor))));
  }
  return h(
    "div",
    { class: "banner", role: "alert" },
    icon("warn"),
    h("div", {}, h("p", {}, h("strong", {}, "The audit does not hold.")), h("ul", {}, found.breaks.map((each) => h("li", {}, `${each.kind}, ${each.first === each.last ? `entry ${each.first}` : `entries ${each.first} to ${each.last}`}: ${each.text}`))), found.further_breaks > 0 && h("p", {}, `And ${count(found.further_breaks)} more.`)),
  );
}

function filters(visit) {
  const { state } = visit;
  const set = (event) => {
    state.filters[event.target.name] = event.target.value;
    clearTimeout(state.typing);
    state.typing = setTimeout(() => { state.paged = false; visit.refresh(); }, 250);
  };
  const field = (name, label, type) =>
    h("div", { class: "field" }, h("label", { for: `filter-${name}` }, label), h("input", { id: `filter-${name}`, name, type, maxlength: "255", "data-bound": true, "data-search": name === "agent", autocomplete: "off", spellcheck: "false", value: state.filters[name] ?? "", list: name === "outcome" ? "outcomes" : false, on: { input: set } }));
  const active = Object.values(state.filters).some(Boolean);
  return card(
    "Filters",
    { id: "filters", aside: active && h("button", { type: "button", class: "compact", on: { click: () => { state.filters = {}; state.paged = false; visit.refresh(); } } }, "Clear") },
    h("details", { open: innerWidth > 640 }, h("summary", {}, active ? "Some are set" : "All entries"), h("form", { role: "search", class: "fields", on: { submit: (event) => event.preventDefault() } }, Object.entries(TEXTS).map(([name, label]) => field(name, label, "text")), Object.entries(TIMES).map(([name, label]) => field(name, label, "datetime-local")))),
    h("datalist", { id: "outcomes" }, ["ok", "forbidden", "unauthenticated", "not_found", "invalid_arguments", "conflict", "rate_limited", "overloaded"].map((each) => h("option", { value: each }))),
  );
}

const iso = (seconds) => new Date(seconds * 1000).toISOString();

function ids(entry) {
  const found = entry.ids ?? [];
  if (!found.length) return null;
  const total = entry.count ?? found.length;
  return h("span", { class: "sub mono wrap" }, found.slice(0, 3).join(", "), total > 3 && ` and ${count(total - 3)} more`);
}

function details({ seq, hash, at, ...rest }) {
  const show = () => opened(`Entry ${seq} of the audit`, code({ seq, at: iso(at), ...rest, hash }));
  return h("button", { type: "button", class: "compact", "aria-label": `Details of entry ${seq}`, on: { click: show } }, `No. ${count(seq)}`);
}

export default {
  nav: "Audit",
  needs: "monitor",
  title: () => "Audit",
  load: (visit) => {
    visit.state.filters ??= { ...Object.fromEntries(visit.query) };
    return get(parameters(visit.state.filters));
  },
  every: (visit) => (visit.state.paged ? 0 : 5000),
  view: (data, visit) => [
    !data.enabled && h("div", { class: "banner warn" }, icon("warn"), h("p", {}, "Nothing is noted now: ", h("code", {}, "enable_audit"), " is off.")),
    filters(visit),
    visit.state.failure && refusal(visit.state.failure),
    h("div", { "aria-live": "polite" }, verdict(visit.state.verified)),
    card(
      "Entries",
      {
        id: "entries",
        flush: true,
        aside: h("div", { class: "row" }, data.last !== null && h("span", {}, `${plural(data.last, "entry", "entries")} in all`), h("button", { type: "button", class: "compact", id: "verify", disabled: Boolean(visit.state.verifying), on: { click: () => verify(visit) } }, icon("audit", "small"), visit.state.verifying ? "Verifying…" : "Verify")),
      },
      data.entries.length
        ? [
            table(
              "Entries of the audit",
              [
                { label: "When", cell: (each) => [when(iso(each.at)), h("span", { class: "sub" }, since(iso(each.at)))] },
                { label: "Who", wide: 25, cell: (each) => [h("strong", { class: "wrap" }, each.who), each.tenant && h("span", { class: "sub" }, `tenant ${each.tenant}`)] },
                { label: "What", wide: 35, cell: (each) => [name(each.tool || "–"), ids(each), each.fields && h("span", { class: "sub wrap" }, `fields ${each.fields.join(", ")}`)] },
                { label: "Outcome", cell: (each) => [outcomeBadge(each.outcome), " ", each.repeated && badge("idle", "repeated"), each.times > 1 && badge("idle", `×${each.times}`)] },
                { label: "Entry", whole: true, cell: details },
              ],
              data.entries,
              (each) => String(each.seq),
            ),
            data.before && h("div", { class: "inside" }, h("button", { type: "button", on: { click: () => more(visit) } }, "Older entries")),
          ]
        : Object.values(visit.state.filters).some(Boolean)
          ? empty("Nothing fits", "No entry fits all of the filters. Clear one of them.")
          : empty("No entries yet", "Every write and every denial appears here. Reads are not noted."),
    ),
  ],
};
