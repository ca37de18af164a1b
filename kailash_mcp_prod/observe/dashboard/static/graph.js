// A workflow session as a graph from top to bottom: its steps in their order, with those inside.

import { h, s } from "./dom.js";
import { duration } from "./format.js";

const NODE = 62;
const GAP = 30;
const PAD = 14;
const HEAD = 58;

export const STATES = {
  done: ["✓", "done"],
  failed: ["✕", "failed"],
  running: ["◐", "running"],
  interrupted: ["!", "interrupted"],
  left: ["○", "left to do"],
};

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export const took = (step) =>
  step.finished_at ? duration(new Date(step.finished_at) - new Date(step.started_at)) : null;

/* Steps by path as a tree: `a/b` stands inside `a`. */
export function treeOf(steps) {
  const known = new Map(steps.map((step) => [step.path, { ...step, inside: [] }]));
  const top = [];
  for (const step of known.values()) {
    const cutAt = step.path.lastIndexOf("/");
    const around = cutAt < 0 ? null : known.get(step.path.slice(0, cutAt));
    (around ? around.inside : top).push(step);
  }
  return top;
}

/* On a narrow screen, what runs side by side is drawn below each other, without arrows between. */
const narrow = () => innerWidth < 720;
const nodeWidth = () => (narrow() ? 240 : 284);

function layOut(step) {
  if (!step.inside.length) return { step, width: nodeWidth(), height: NODE, parts: [] };
  const parts = step.inside.map(layOut);
  const together = step.type === "parallel" || step.type === "condition";
  const beside = together && !narrow();
  let width = 0;
  let height = 0;
  for (const part of parts) {
    if (beside) {
      part.x = PAD + width;
      part.y = HEAD;
      width += part.width + PAD;
      height = Math.max(height, part.height);
    } else {
      part.x = PAD;
      part.y = HEAD + height;
      height += part.height + (together ? PAD : GAP);
      width = Math.max(width, part.width + PAD);
    }
  }
  if (!beside) height -= together ? PAD : GAP;
  return { step, parts, together, width: width + PAD, height: HEAD + height + PAD };
}

const arrow = (x, from, to) => [
  s("path", { class: "edge", d: `M${x} ${from}L${x} ${to - 6}` }),
  s("path", { class: "arrow", d: `M${x - 5} ${to - 8}L${x + 5} ${to - 8}L${x} ${to}Z` }),
];

function draw(box, x, y) {
  const { step } = box;
  const [sign, word] = STATES[step.status] ?? ["?", step.status];
  const name = step.path.slice(step.path.lastIndexOf("/") + 1);
  // There is no room for both beside the type.
  const time = narrow() && word.length > 7 ? null : took(step);
  const children = box.parts.map((part, index) => {
    const drawn = [draw(part, x + part.x, y + part.y)];
    if (!box.together && index > 0) {
      drawn.push(arrow(x + part.x + part.width / 2, y + part.y - GAP, y + part.y));
    }
    return drawn;
  });
  return s(
    "g",
    { class: `node ${step.status} ${box.parts.length ? "group" : ""}`, "data-step": step.path, "data-state": step.status },
    s("title", {}, `${step.path}: ${word}${step.error ? `, ${step.error.code}: ${step.error.message}` : ""}`),
    s("rect", { class: "box", x, y, width: box.width, height: box.height, rx: 10 }),
    s("text", { x: x + 14, y: y + 24 }, cut(name, 32)),
    s("text", { class: "sub", x: x + 14, y: y + 43 }, cut(step.type, narrow() ? 14 : 20)),
    s("text", { class: "state", x: x + box.width - 14, y: y + 43, "text-anchor": "end" }, `${sign} ${word}${time ? ` · ${time}` : ""}`),
    children,
  );
}

export function graph(steps, remaining = []) {
  const left = remaining.map((name) => ({ path: name, type: "of the template", status: "left", inside: [] }));
  const boxes = [...treeOf(steps), ...left].map(layOut);
  const width = Math.max(nodeWidth(), ...boxes.map((box) => box.width)) + 8;
  let y = 4;
  const drawn = boxes.map((box, index) => {
    const x = (width - box.width) / 2;
    const own = [draw(box, x, y)];
    if (index > 0) own.push(arrow(width / 2, y - GAP, y));
    y += box.height + GAP;
    return own;
  });
  const told = boxes.map(({ step }) => `${step.path}: ${(STATES[step.status] ?? ["", step.status])[1]}`).join("; ");
  return h(
    "div",
    { class: "graph", tabindex: "0", role: "region", "aria-label": "Graph of the steps" },
    s("svg", { width, height: y - GAP + 8, viewBox: `0 0 ${width} ${y - GAP + 8}`, role: "img", "aria-label": `Steps in their order. ${told}` }, drawn),
  );
}
