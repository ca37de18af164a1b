// The pieces that pages are made of.

import { h, icon, s } from "./dom.js";
import { count } from "./format.js";

const SIGNS = { ok: "ok", warn: "warn", bad: "bad", busy: "busy", idle: "idle" };

/* A word with a sign; the colour only underlines it. */
export const badge = (kind, text) => h("span", { class: `badge ${kind}` }, icon(SIGNS[kind] ?? "idle", "small"), text);

const HEALTH = { healthy: "ok", degraded: "warn", unhealthy: "bad", draining: "warn", disabled: "idle" };
export const healthBadge = (status) => badge(HEALTH[status] ?? "idle", status);

const OUTCOMES = { ok: "ok", cancelled: "idle", input_required: "idle" };
export const outcomeBadge = (outcome) => badge(OUTCOMES[outcome] ?? "bad", outcome);

export function card(title, { aside, flush = false, level = "h2", id } = {}, ...children) {
  return h(
    "section",
    { class: "card", "aria-labelledby": id ?? false },
    title && h("header", {}, h(level, { id: id ?? false }, title), aside && h("div", { class: "aside" }, aside)),
    h("div", { class: flush ? "flush" : "inside" }, ...children),
  );
}

export const tile = (label, value, note, unit) =>
  h(
    "div",
    { class: "card tile", "data-tile": label },
    h("div", { class: "label" }, label),
    h("div", { class: "value" }, value, unit && h("small", {}, ` ${unit}`)),
    note && h("div", { class: "note" }, note),
  );

/* A name with underscores breaks after these rather than anywhere. */
export const name = (text) =>
  h("span", { class: "name" }, text.split(/(?<=_)/).map((part, index) => [index > 0 && h("wbr"), part]));

/* Tiles in full rows, whatever the width; there are four, five or six. */
export const tiles = (...shown) => {
  const there = shown.filter(Boolean);
  return h("div", { class: `tiles of-${there.length}` }, there);
};

export const empty = (title, text, ...more) =>
  h("div", { class: "empty" }, icon("empty"), h("h3", {}, title), h("p", {}, text), ...more);

export const skeleton = () =>
  h("div", { class: "skeleton", role: "status", "aria-label": "Loading" }, h("div", { class: "a" }), h("div", { class: "b" }));

export const code = (value) =>
  h("pre", { class: "code", tabindex: "0" }, typeof value === "string" ? value : JSON.stringify(value, null, 2));

/* columns: [{label, cell, end?, wide?, whole?}]; `wide` is a share of the width in percent. */
export function table(caption, columns, rows, key) {
  return h(
    "div",
    { class: "table-wrap", tabindex: "0", role: "region", "aria-label": `${caption}, table` },
    h(
      "table",
      { class: "cards" },
      h("caption", { class: "sr" }, caption),
      h("thead", {}, h("tr", {}, columns.map((each) => h("th", { scope: "col", class: each.end ? "end" : each.wide ? `wide-${each.wide}` : false }, each.label)))),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            { "data-key": key ? key(row) : false },
            columns.map((each) =>
              h("td", { "data-label": each.label, class: [each.end && "end", each.whole && "whole"].filter(Boolean).join(" ") || false }, h("div", {}, each.cell(row))),
            ),
          ),
        ),
      ),
    ),
  );
}

export function meter(used, limit, text) {
  const share = limit ? Math.min(1, used / limit) : 0;
  const kind = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "";
  return h(
    "div",
    { class: `meter ${kind}` },
    h("span", { class: "num" }, text ?? `${count(used)} of ${count(limit)}`),
    s("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: share * 100, height: 6 })),
  );
}

export function refusal(error, { retry } = {}) {
  const locked = error.code === "forbidden";
  return h(
    "div",
    { class: locked ? "banner warn" : "banner", role: "alert" },
    icon(locked ? "lock" : "warn"),
    h(
      "div",
      {},
      h("p", {}, h("strong", {}, error.code ?? "error"), ": ", error.message),
      error.field && h("p", {}, "Field: ", h("code", {}, error.field)),
      error.request_id && h("p", {}, "Request ", h("code", {}, error.request_id)),
      retry && h("p", {}, "It is asked for again by itself."),
    ),
  );
}

export function toast(text) {
  let place = document.querySelector(".toasts");
  if (!place) {
    place = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  const shown = h("div", { class: "toast" }, text);
  place.append(shown);
  setTimeout(() => shown.remove(), 6000);
}

/* Shows something over the page until it is closed. */
export function opened(title, ...children) {
  const dialog = h(
    "dialog",
    { class: "wide", "aria-labelledby": "opened-title", on: { close: () => dialog.remove() } },
    h(
      "div",
      { class: "inside" },
      h("h2", { id: "opened-title" }, title),
      ...children,
      h("div", { class: "actions" }, h("button", { type: "button", autofocus: true, on: { click: () => dialog.close() } }, "Close")),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

/* Asks before something is done that can't be undone; resolves to the answer. */
export function confirmed(title, text, label) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "confirm-title", on: { close: () => { dialog.remove(); resolve(dialog.returnValue === "yes"); } } },
      h(
        "div",
        { class: "inside" },
        h("h2", { id: "confirm-title" }, title),
        h("p", {}, text),
        h(
          "div",
          { class: "actions" },
          h("button", { type: "button", on: { click: () => dialog.close("no") } }, "Cancel"),
          h("button", { type: "button", class: "danger", "data-confirm": true, on: { click: () => dialog.close("yes") } }, label),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
