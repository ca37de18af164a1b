// Explain: why somebody may call a tool or not, and what of the records is left to it.

import { get, post } from "../api.js";
import { h, icon } from "../dom.js";
import { badge, card, code, empty, refusal } from "../ui.js";

const words = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);

function question(form) {
  const given = { tool: form.get("tool").trim() };
  if (form.get("agent")?.trim()) given.agent = form.get("agent").trim();
  for (const name of ["arguments", "claims"]) {
    const text = form.get(name)?.trim();
    if (!text) continue;
    try {
      given[name] = JSON.parse(text);
    } catch {
      throw { code: "invalid_arguments", message: `${name}: not valid JSON.`, field: name };
    }
  }
  for (const name of ["permissions", "roles"]) if (form.get(name)?.trim()) given[name] = words(form.get(name));
  if (form.get("tenant")?.trim()) given.tenant = form.get("tenant").trim();
  if (form.get("read_only")) given.read_only = true;
  return given;
}

const link = (kind, ...text) => h("li", {}, h("span", { class: `dot ${kind}` }, icon(kind || "idle", "small"), h("span", { class: "sr" }, { ok: "holds", bad: "does not hold", warn: "restricts" }[kind] ?? "")), h("div", {}, h("p", {}, ...text)));

function chain(found) {
  const refusedHere = found.reason && !Object.values(found.granted).includes(null);
  return h(
    "ol",
    { class: "chain" },
    link(found.exists ? "ok" : "bad", found.exists ? ["There is the tool ", h("code", {}, found.tool), "."] : ["There is no tool ", h("code", {}, found.tool), "."]),
    Object.entries(found.granted).map(([needed, grant]) =>
      grant ? link("ok", "Needs ", h("code", {}, needed), ": granted by ", h("code", {}, grant), ".") : link("bad", "Needs ", h("code", {}, needed), ": no grant covers it."),
    ),
    found.exists && !Object.keys(found.granted).length && link("ok", "Needs no permission."),
    found.exists && found.changes && link(found.read_only ? "bad" : "ok", found.read_only ? "It changes something, and the server, the credential or a role is read-only." : "It changes something, and nothing here is read-only."),
    found.rows.map((rows) => link("warn", "Only records with ", h("code", {}, JSON.stringify(rows)), ".")),
    found.hidden.length > 0 && link("warn", "Without the fields ", found.hidden.map((each, index) => [index ? ", " : "", h("code", {}, each)]), "."),
    Object.entries(found.filled).map(([name, value]) => link("warn", "Sets ", h("code", {}, name), " to ", h("code", {}, JSON.stringify(value)), " in new records.")),
    found.with_arguments && found.exists && link(refusedHere ? "bad" : "ok", refusedHere ? found.reason : "The arguments pass."),
    link(found.allowed ? "ok" : "bad", h("strong", {}, found.allowed ? "It may be called." : "It may not be called."), !found.allowed && found.reason ? ` ${found.reason}` : ""),
  );
}

const field = (name, label, hint, control) => h("div", { class: "field" }, h("label", { for: name }, label), control, hint && h("div", { class: "hint", id: `${name}-hint` }, hint));
const input = (name, attributes) => h("input", { id: name, name, autocomplete: "off", spellcheck: "false", "aria-describedby": `${name}-hint`, ...attributes });

export default {
  nav: "Explain",
  title: () => "Explain",
  load: async (visit) => {
    const [{ agents }, { tools }] = await Promise.all([get("explain"), get("tools")]);
    if (visit.query.get("tool")) visit.state.tool ??= visit.query.get("tool");
    return { agents, tools };
  },
  view: (data, visit) => {
    const { state } = visit;
    const others = visit.may.explain_others;
    const ask = async (event) => {
      event.preventDefault();
      try {
        state.answer = await post("explain", question(new FormData(event.target)));
        state.failure = null;
      } catch (refused) {
        state.failure = refused.error ?? refused;
        state.answer = null;
      }
      visit.update();
    };
    return h(
      "div",
      { class: "split" },
      card(
        "Question",
        { id: "question" },
        h(
          "form",
          { class: "stack tight", on: { submit: ask } },
          field("agent", "Agent", others ? "A subject, the agent_id of a key, or any name with the facts below." : "You may ask about yourself.", input("agent", { list: "agents", placeholder: visit.subject, readonly: !others })),
          h("datalist", { id: "agents" }, data.agents.map((each) => h("option", { value: each }))),
          field("tool", "Tool", "Such as Quote_update.", input("tool", { list: "tools", required: true, value: state.tool ?? "", "data-search": true })),
          h("datalist", { id: "tools" }, data.tools.map((each) => h("option", { value: each.name }))),
          field("arguments", "Arguments", "As JSON, checked as in a call; nothing is called.", h("textarea", { id: "arguments", name: "arguments", rows: 4, spellcheck: "false", placeholder: "{\"id\": \"…\"}", "aria-describedby": "arguments-hint" })),
          others &&
            h(
              "details",
              {},
              h("summary", {}, "As if it had…"),
              h(
                "div",
                { class: "fields" },
                field("permissions", "Permissions", "With commas.", input("permissions", { placeholder: "Company:*, *:list" })),
                field("roles", "Roles", "With commas.", input("roles", {})),
                field("tenant", "Tenant", "Whose records it reaches.", input("tenant", {})),
                field("claims", "Claims", "Of its token, as JSON.", input("claims", { placeholder: "{\"sub\": \"user-1\"}" })),
                h("label", { class: "check" }, h("input", { type: "checkbox", name: "read_only", value: "1" }), "Its credential is read-only"),
              ),
            ),
          h("div", {}, h("button", { class: "primary", type: "submit", id: "ask" }, "Explain")),
        ),
      ),
      h(
        "div",
        { "aria-live": "polite", id: "answer" },
        card(
          "Answer",
          { id: "answer-title", aside: state.answer && (state.answer.allowed ? badge("ok", "allowed") : badge("bad", "refused")) },
          state.failure
            ? refusal(state.failure)
            : state.answer
              ? h("div", { class: "stack tight" }, h("p", { class: "wrap" }, h("strong", {}, state.answer.subject), state.answer.allowed ? " may call " : " may not call ", h("strong", {}, state.answer.tool), "."), chain(state.answer), h("details", {}, h("summary", {}, "As JSON"), code(state.answer)))
              : empty("Ask why", "The answer shows what decides, step by step: grants, read-only, rows, fields and arguments. Nothing is called."),
        ),
      ),
    );
  },
};
