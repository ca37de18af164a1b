// Tools: found by words, described, and tried out.

import { get, post, root } from "../api.js";
import { h, icon } from "../dom.js";
import { count, duration, percent, plural } from "../format.js";
import { schemaForm } from "../schema_form.js";
import { badge, card, code, confirmed, empty, name, refusal, tile, tiles, toast } from "../ui.js";

const TYPING_MS = 180;

const nature = (tool) =>
  tool.read_only ? badge("idle", "reads") : tool.destructive ? badge("warn", "changes or removes") : badge("busy", "adds");

const figure = (label, value, name) => h("span", { "data-figure": name }, h("b", {}, value), label);

function line(tool) {
  return h(
    "li",
    { "data-key": tool.name, "data-tool": tool.name },
    h(
      "a",
      { href: `${root}/tools/${encodeURIComponent(tool.name)}` },
      h("span", { class: "title" }, name(tool.name)),
      h("span", { class: "about" }, tool.summary),
      h(
        "span",
        { class: "figures" },
        tool.figures && figure("calls", count(tool.figures.calls), "calls"),
        tool.figures && figure("failed", percent(tool.figures.error_percent), "failed"),
        figure("tokens", count(tool.tokens_listed), "tokens"),
      ),
    ),
  );
}

/* By group; what a search has found stays in the order of the search. */
function grouped(tools, found) {
  const groups = new Map();
  for (const tool of tools) {
    const name = found ? "Found" : tool.group;
    groups.set(name, [...(groups.get(name) ?? []), tool]);
  }
  return h(
    "div",
    {},
    [...groups].map(([name, each]) =>
      h("section", { "data-key": name, "aria-label": name }, h("h2", { class: "tool-group" }, name), h("div", { class: "card" }, h("ul", { class: "tool-list" }, each.map(line)))),
    ),
  );
}

function list(data, visit) {
  const { state } = visit;
  const type = (event) => {
    state.query = event.target.value;
    clearTimeout(state.typing);
    state.typing = setTimeout(() => visit.refresh(), TYPING_MS);
  };
  const only = state.only ?? "all";
  const kinds = { all: () => true, reads: (tool) => tool.read_only, writes: (tool) => !tool.read_only };
  const shown = data.tools.filter(kinds[only]);
  const tokens = shown.reduce((sum, tool) => sum + tool.tokens_listed, 0);
  return [
    h(
      "div",
      { class: "row" },
      h(
        "div",
        { class: "search", role: "search" },
        icon("search"),
        h("input", { type: "search", "data-search": true, "aria-label": "Search tools", placeholder: "Search: what do you want to do?", value: state.query ?? "", maxlength: "200", on: { input: type } }),
        h("kbd", { class: "hide-narrow", "aria-hidden": "true" }, "/"),
      ),
      h(
        "div",
        { class: "tabs", role: "group", "aria-label": "Which tools" },
        Object.keys(kinds).map((each) =>
          h("button", { type: "button", "aria-pressed": String(only === each), on: { click: () => { state.only = each; visit.update(); } } }, each),
        ),
      ),
    ),
    h("p", { class: "muted small", role: "status" }, `${plural(shown.length, "tool")}, ${count(tokens)} tokens in the list of an agent`),
    shown.length
      ? grouped(shown, Boolean(data.asked))
      : h("div", { class: "card" }, data.asked ? empty("Nothing fits", "Try other words: what to do, and with which records.") : empty("No tools", "Your credential may call none. Its permissions decide that; see Explain.")),
  ];
}

async function run(tool, visit) {
  const { state } = visit;
  let given = state.values ?? {};
  if (state.raw !== undefined) {
    try {
      given = JSON.parse(state.raw || "{}");
    } catch {
      state.failure = { code: "invalid_arguments", message: "The arguments are not valid JSON." };
      visit.update();
      return;
    }
  }
  if (Object.keys(state.problems).length) {
    state.failure = { code: "invalid_arguments", message: "Mend the fields that are marked." };
    visit.update();
    return;
  }
  if (tool.destructive && !(await confirmed(`Call ${tool.name}?`, "It changes or removes what is there. This can't be taken back here.", "Call it"))) return;
  Object.assign(state, { busy: true, failure: null, result: null });
  visit.update();
  const began = performance.now();
  try {
    const done = await post(`tools/${encodeURIComponent(tool.name)}`, { arguments: given, confirmed: tool.destructive });
    state.result = { ...done, ms: performance.now() - began };
  } catch (error) {
    if (!error.error) throw error;
    state.failure = error.error;
  }
  state.busy = false;
  visit.update();
}

function trial(tool, visit) {
  const { state } = visit;
  state.problems ??= {};
  state.texts ??= {};
  const raw = state.raw !== undefined;
  const swap = (event) => {
    const wanted = event.currentTarget.dataset.mode === "json";
    if (wanted && !raw) state.raw = JSON.stringify(state.values ?? {}, null, 2);
    if (!wanted && raw) {
      try {
        state.values = JSON.parse(state.raw || "{}");
        state.texts = {};
        state.problems = {};
        state.raw = undefined;
      } catch {
        toast("This is not valid JSON yet, so it stays as JSON.");
      }
    }
    visit.update();
  };
  const fields = Object.keys(tool.input_schema.properties ?? {}).length;
  return card(
    "Try it",
    {
      id: "try-it",
      aside: h(
        "div",
        { class: "tabs", role: "group", "aria-label": "Arguments as" },
        h("button", { type: "button", "data-mode": "form", "aria-pressed": String(!raw), on: { click: swap } }, "form"),
        h("button", { type: "button", "data-mode": "json", "aria-pressed": String(raw), on: { click: swap } }, "JSON"),
      ),
    },
    h(
      "form",
      { class: "stack tight", novalidate: true, on: { submit: (event) => { event.preventDefault(); run(tool, visit); } } },
      raw
        ? h("div", { class: "field", "data-key": "raw" }, h("label", { for: "raw" }, "Arguments as JSON"), h("textarea", { id: "raw", "data-bound": true, rows: 10, spellcheck: "false", value: state.raw, on: { input: (event) => { state.raw = event.target.value; } } }))
        : h("div", { "data-key": "form" }, fields ? schemaForm(tool.input_schema, state, () => visit.update()) : h("p", { class: "muted" }, "It takes no arguments.")),
      h(
        "div",
        { class: "row" },
        h("button", { class: tool.destructive ? "danger" : "primary", type: "submit", id: "call", disabled: Boolean(state.busy) }, icon("play", "small"), state.busy ? "Calling…" : "Call"),
        h("span", { class: "muted small" }, `As ${visit.subject}, with all rules and limits.`),
      ),
    ),
    h(
      "div",
      { "aria-live": "polite", id: "outcome", class: "stack tight" },
      state.failure && [refusal(state.failure), state.failure.details && code(state.failure.details)],
      state.result && [
        h("div", { class: "row" }, badge("ok", "done"), h("span", { class: "muted small num" }, `in ${duration(state.result.ms)}, request ${state.result.request_id}`)),
        code(state.result.result),
      ],
    ),
  );
}

function detail(tool, visit) {
  return [
    h("div", { class: "row" }, h("a", { href: `${root}/tools`, class: "button" }, icon("back", "small"), "All tools"), nature(tool), tool.idempotent && badge("idle", "idempotent"), tool.group && h("span", { class: "chip" }, tool.group)),
    h("p", { class: "lead wrap" }, tool.description),
    tiles(
      tile("In a list", count(tool.tokens_listed), "at four characters each", "tokens"),
      tile("Described in full", count(tool.tokens_described), "with both schemas", "tokens"),
      tool.figures && tile("Calls", count(tool.figures.calls), "since the start"),
      tool.figures && tile("Failed", percent(tool.figures.error_percent), plural(tool.figures.errors, "call")),
      tool.figures && tile("95 % within", duration(tool.figures.p95_ms), `half of them within ${duration(tool.figures.p50_ms)}`),
    ),
    h(
      "div",
      { class: "split" },
      trial(tool, visit),
      h(
        "div",
        { class: "stack tight" },
        card("Needs", { id: "needs" }, tool.permissions.length ? h("div", { class: "chips" }, tool.permissions.map((each) => h("code", { class: "chip" }, each))) : h("p", { class: "muted" }, "No permission.")),
        card("Arguments", { id: "schema" }, code(tool.input_schema)),
        card("Result", { id: "result-schema" }, h("details", {}, h("summary", {}, "Schema of the result"), code(tool.output_schema))),
      ),
    ),
  ];
}

export default {
  nav: "Tools",
  title: (visit) => visit.rest || "Tools",
  load: async (visit) => {
    if (visit.rest) return { tool: await get(`tools/${encodeURIComponent(visit.rest)}`) };
    const query = (visit.state.query ?? "").trim();
    const found = await get(query ? `tools?query=${encodeURIComponent(query)}` : "tools");
    return { ...found, asked: query };
  },
  every: (visit) => (visit.state.query ? 0 : 3000),
  view: (data, visit) => (data.tool ? detail(data.tool, visit) : list(data, visit)),
};
