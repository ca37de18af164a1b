// The log-in: a credential goes to the server once, and comes back as a cookie that no script reads.

import { post, root } from "./api.js";
import { h, icon } from "./dom.js";

const problem = h("div", { id: "problem" });
const input = h("input", {
  id: "credential",
  type: "password",
  autocomplete: "current-password",
  spellcheck: "false",
  required: true,
  "aria-describedby": "credential-hint problem",
});
const button = h("button", { class: "primary", type: "submit" }, "Log in");

async function logIn(event) {
  event.preventDefault();
  button.disabled = true;
  problem.replaceChildren();
  try {
    await post("login", { credential: input.value });
    const wanted = location.hash.startsWith("#/") && !location.hash.startsWith("#//") ? location.hash.slice(1) : "/";
    location.replace(root + wanted);
  } catch (refused) {
    problem.replaceChildren(
      h("div", { class: "banner", role: "alert" }, icon("warn"), h("p", {}, refused.message)),
    );
    input.setAttribute("aria-invalid", "true");
    input.select();
    input.focus();
  } finally {
    button.disabled = false;
  }
}

document.getElementById("app").replaceChildren(
  h(
    "div",
    { class: "door" },
    h(
      "main",
      {},
      h(
        "div",
        { class: "card" },
        h(
          "div",
          { class: "inside" },
          h("div", { class: "brand" }, h("img", { src: `${root}/static/icon.svg`, alt: "" }), h("span", {}, "Kailash MCP", h("small", {}, "Dashboard"))),
          h("h1", {}, "Log in"),
          h(
            "form",
            { class: "stack tight", on: { submit: logIn } },
            h(
              "div",
              { class: "field" },
              h("label", { for: "credential" }, "API key or token"),
              input,
              h("div", { class: "hint", id: "credential-hint" }, "One that this server takes. The whole server is shown to those with the permission ", h("code", {}, "monitor:read"), "."),
            ),
            problem,
            button,
          ),
        ),
      ),
    ),
  ),
);
input.focus();
