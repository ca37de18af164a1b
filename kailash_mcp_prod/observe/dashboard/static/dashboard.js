// The frame around the pages: navigation, the pulse of the server, themes and keys.

import { get, logOutHere, post, root } from "./api.js";
import { h, icon, morph } from "./dom.js";
import { empty, healthBadge, name, opened, refusal, skeleton } from "./ui.js";
import audit from "./pages/audit.js";
import explain from "./pages/explain.js";
import limits from "./pages/limits.js";
import nexus from "./pages/nexus.js";
import overview from "./pages/overview.js";
import sessions from "./pages/sessions.js";
import tools from "./pages/tools.js";
import workflows from "./pages/workflows.js";
import workspaces from "./pages/workspaces.js";

const PULSE_MS = 1500;
const GO_MS = 1200;

const PAGES = { "": overview, tools, sessions, workspaces, workflows, limits, nexus, audit, explain };
const SIGNS = { "": "overview" };
const KEYS = { "": "o", tools: "t", sessions: "s", workspaces: "w", workflows: "f", limits: "l", nexus: "n", audit: "a", explain: "e" };

/* Some pages are there only where the server is put together with what they show. */
const isThere = (page) => !page.integration || pulse?.integrations?.includes(page.integration);
const pages = () => Object.entries(PAGES).filter(([, page]) => isThere(page));

const app = document.getElementById("app");
let pulse = null;
let current = null;
let menuOpen = false;
let goes = 0;
let searching = false;

/* ── Themes ─────────────────────────────────────────────────────────── */

const THEMES = { auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };
const theme = () => document.documentElement.dataset.theme ?? "auto";

function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme()) + 1) % names.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("dashboard-theme", next);
  } catch {
    // It holds for this page then.
  }
  draw();
}

/* ── Pages ──────────────────────────────────────────────────────────── */

class Visit {
  constructor(name, rest, query) {
    this.name = name;
    this.page = PAGES[name];
    this.rest = rest;
    this.query = query;
    this.state = {};
    this.data = null;
    this.error = null;
    this.timer = null;
    this.turn = 0;
    this.over = false;
  }

  get may() {
    return pulse?.may ?? {};
  }

  get subject() {
    return pulse?.subject;
  }

  go(path) {
    go(path);
  }

  update() {
    if (!this.over) draw();
  }

  /* Asks for the page's data anew. What comes too late, after another question, is not shown. */
  async refresh() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    try {
      const data = this.page.load ? await this.page.load(this) : {};
      if (this.over || turn !== this.turn) return;
      this.data = data;
      this.error = null;
    } catch (error) {
      if (this.over || turn !== this.turn) return;
      if (!error.error) throw error;
      this.error = error.error;
    }
    this.update();
    const every = this.page.every?.(this) ?? 0;
    if (every) this.timer = setTimeout(() => this.refreshSeen(), every);
  }

  /* Hidden tabs ask nothing. */
  refreshSeen() {
    if (document.hidden) this.timer = setTimeout(() => this.refreshSeen(), 500);
    else this.refresh();
  }

  end() {
    this.over = true;
    clearTimeout(this.timer);
  }
}

function visit() {
  const path = location.pathname.slice(root.length).replace(/^\/|\/$/g, "");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const moved = current !== null;
  current?.end();
  current = new Visit(name, rest.join("/"), new URLSearchParams(location.search));
  menuOpen = false;
  searching &&= name === "tools";
  if (!current.page) {
    document.title = "Not found · Kailash MCP";
    draw();
    return;
  }
  document.title = `${current.page.title(current)} · Kailash MCP`;
  draw();
  if (moved) {
    document.getElementById("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  current.refresh();
}

function go(path) {
  history.pushState(null, "", root + path);
  visit();
}

/* ── The frame ──────────────────────────────────────────────────────── */

function navigation() {
  return h(
    "nav",
    { class: "nav", "aria-label": "Pages" },
    h(
      "ul",
      {},
      pages().map(([name, page]) => {
        const locked = pulse && page.needs && !pulse.may[page.needs];
        return h(
          "li",
          {},
          h(
            "a",
            { href: `${root}/${name}`, "aria-current": current.name === name ? "page" : false, "aria-keyshortcuts": `g ${KEYS[name]}` },
            icon(SIGNS[name] ?? name),
            page.nav,
            locked && h("span", { class: "locked" }, icon("lock", "small"), h("span", { class: "sr" }, "(not permitted)")),
          ),
        );
      }),
    ),
  );
}

async function logOut() {
  await post("logout");
  logOutHere();
}

function frame() {
  const page = current.page;
  const [sign, word] = THEMES[theme()];
  const content = !page
    ? empty("There is no such page", "Choose one of the navigation.")
    : current.error && !current.data
      ? refusal(current.error, { retry: page.every !== undefined })
      : current.data === null
        ? skeleton()
        : [current.error && refusal(current.error, { retry: page.every !== undefined }), page.view(current.data, current)];
  return h(
    "div",
    { class: "frame" },
    h("a", { class: "skip", href: "#main" }, "Skip to the content"),
    h(
      "aside",
      { class: menuOpen ? "side open" : "side", id: "side", "aria-label": "Pages and log-in" },
      h("a", { class: "brand", href: `${root}/` }, h("img", { src: `${root}/static/icon.svg`, alt: "" }), h("span", {}, "Kailash MCP", h("small", {}, "Dashboard"))),
      navigation(),
      h(
        "div",
        { class: "foot" },
        pulse && [
          h("span", {}, pulse.asks ? "Logged in as" : "Open to everybody on this machine"),
          pulse.asks && h("span", { class: "who" }, pulse.subject),
          pulse.asks && h("button", { class: "compact", type: "button", id: "log-out", on: { click: logOut } }, icon("out", "small"), "Log out"),
          h("span", {}, `Version ${pulse.version}`),
        ],
      ),
    ),
    menuOpen && h("button", { class: "scrim", type: "button", "aria-label": "Close the navigation", on: { click: () => toggleMenu(false) } }),
    h(
      "div",
      { class: "body" },
      h(
        "header",
        { class: "top" },
        h("button", { class: "plain icon-only menu-button", type: "button", "aria-label": "Navigation", "aria-expanded": String(menuOpen), "aria-controls": "side", on: { click: () => toggleMenu(!menuOpen) } }, icon("menu")),
        h("h1", {}, page ? name(page.title(current)) : "Not found"),
        h(
          "div",
          { class: "right" },
          h("span", { role: "status", id: "health" }, pulse ? h("span", { title: "Health of the server" }, healthBadge(pulse.health)) : null),
          h("button", { class: "plain icon-only hide-narrow", type: "button", "aria-label": "Keyboard shortcuts", title: "Keyboard shortcuts (?)", on: { click: showKeys } }, icon("keys")),
          h("button", { class: "plain icon-only", type: "button", id: "theme", "aria-label": `Theme: ${word}`, title: `Theme: ${word}`, on: { click: nextTheme } }, icon(sign)),
        ),
      ),
      h("main", { id: "main", tabindex: "-1" }, h("div", { class: "stack", "data-key": `${current.name}/${current.rest}`, "aria-busy": String(current.data === null && !current.error) }, content)),
    ),
  );
}

function draw() {
  const fresh = frame();
  if (app.firstElementChild?.classList.contains("frame")) morph(app.firstElementChild, fresh);
  else app.replaceChildren(fresh);
  if (searching) toSearch();
}

/* To the field that searches, as soon as there is one. */
function toSearch() {
  const search = document.querySelector("[data-search]");
  search?.focus();
  searching = search === null;
}

function toggleMenu(open) {
  menuOpen = open;
  draw();
  if (open) document.querySelector(".nav a").focus();
  else document.querySelector(".menu-button").focus();
}

/* ── Keys ───────────────────────────────────────────────────────────── */

function showKeys() {
  if (document.querySelector("dialog")) return;
  opened(
    "Keyboard shortcuts",
    h(
      "dl",
      { class: "facts" },
      pages().map(([each, page]) => [h("dt", {}, h("kbd", {}, "g"), " ", h("kbd", {}, KEYS[each])), h("dd", {}, page.nav)]),
      h("dt", {}, h("kbd", {}, "/")),
      h("dd", {}, "To the search"),
      h("dt", {}, h("kbd", {}, "?")),
      h("dd", {}, "This list"),
      h("dt", {}, h("kbd", {}, "Esc")),
      h("dd", {}, "Close, or leave a field"),
    ),
  );
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (event.key === "Escape") {
    if (menuOpen) toggleMenu(false);
    else if (typing && event.target.nodeName !== "DIALOG") event.target.blur();
    return;
  }
  if (typing) return;
  if (event.key === "/") {
    event.preventDefault();
    toSearch();
    if (searching && (current.name !== "tools" || current.rest)) go("/tools");
  } else if (event.key === "?") {
    event.preventDefault();
    showKeys();
  } else if (event.key === "g") {
    goes = performance.now();
  } else if (performance.now() - goes < GO_MS) {
    goes = 0;
    const found = Object.entries(KEYS).find(([name, key]) => key === event.key && isThere(PAGES[name]));
    if (found) go(`/${found[0]}`);
  }
});

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href);
  if (link.classList.contains("skip")) {
    event.preventDefault();
    document.getElementById("main").focus();
  } else if (url.origin === location.origin && url.pathname.startsWith(`${root}/`)) {
    event.preventDefault();
    go(url.pathname.slice(root.length) + url.search);
  }
});

addEventListener("popstate", visit);

/* ── The pulse: it also notices that the log-in has ended ───────────── */

async function beat() {
  if (!document.hidden) {
    const first = pulse === null;
    try {
      pulse = await get("pulse");
    } catch (error) {
      if (!error.error) throw error;
      if (pulse) pulse = { ...pulse, health: error.status === 0 ? "no answer" : error.error.code };
      else app.replaceChildren(h("main", { class: "door" }, refusal(error.error, { retry: true })));
    }
    if (pulse) {
      if (first) {
        if (!pulse.may.monitor && location.pathname.replace(/\/$/, "") === root) history.replaceState(null, "", `${root}/tools`);
        visit();
      } else draw();
    }
  }
  setTimeout(beat, document.hidden ? 500 : PULSE_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) current?.refresh();
});

beat();
