// Line charts in SVG. Lines differ by their strokes too, and the legend has the newest figures.

import { h, s } from "./dom.js";
import { clockTime } from "./format.js";

const WIDTH = 560;
const HEIGHT = 168;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;

function nice(top) {
  if (!(top > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= top * 1.0001) ?? 10 * power;
}

/* series: [{label, values, format}], one value for each of `at` (Unix seconds); null is a gap. */
export function lineChart(title, at, series, { format, floor = 1, ceiling } = {}) {
  const known = series.flatMap((each) => each.values).filter((value) => value !== null);
  const top = ceiling ?? nice(Math.max(floor, ...known));
  const span = Math.max(1, at[at.length - 1] - at[0]);
  const x = (index) => LEFT + ((WIDTH - LEFT - 6) * (at[index] - at[0])) / span;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
  const newest = (values) => values.findLast((value) => value !== null) ?? null;
  const cursor = s("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const legend = series.map((each, index) =>
    h(
      "span",
      { class: "key" },
      s("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, s("line", { class: `c${index + 1}`, x1: 0, x2: 22, y1: 4, y2: 4 })),
      `${each.label} `,
      h("b", { "data-series": each.label }, format(newest(each.values))),
    ),
  );
  const readings = series.map((each) => `${each.label} ${format(newest(each.values))}`).join(", ");
  const lines = series.map((each, index) => {
    let path = "";
    let last = -2;
    let first = null;
    each.values.forEach((value, place) => {
      if (value === null) return;
      path += `${last === place - 1 ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
      if (first === null) first = place;
      last = place;
    });
    const whole = first !== null && each.values.slice(first, last + 1).every((value) => value !== null);
    return [
      index === 0 && whole && s("path", { class: "area c1", d: `${path}L${x(last).toFixed(1)} ${y(0)}L${x(first).toFixed(1)} ${y(0)}Z` }),
      s("path", { class: `line c${index + 1}`, fill: "none", d: path || "M0 0" }),
    ];
  });
  const picture = s(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `${title}: ${readings}`,
      on: {
        pointermove: (event) => {
          const own = event.currentTarget;
          const box = own.getBoundingClientRect();
          const over = ((event.clientX - box.left) / box.width) * WIDTH;
          const place = at.reduce((best, _, index) => (Math.abs(x(index) - over) < Math.abs(x(best) - over) ? index : best), 0);
          const line = own.querySelector(".cursor");
          line.setAttribute("x1", x(place));
          line.setAttribute("x2", x(place));
          line.setAttribute("visibility", "visible");
          own.parentNode.querySelector(".at").textContent =
            `${clockTime(at[place])} · ${series.map((each) => `${each.label} ${format(each.values[place])}`).join(" · ")}`;
        },
        pointerleave: (event) => {
          event.currentTarget.querySelector(".cursor").setAttribute("visibility", "hidden");
          event.currentTarget.parentNode.querySelector(".at").textContent = "";
        },
      },
    },
    [0, 0.5, 1].map((share) => [
      s("line", { class: "gridline", x1: LEFT, x2: WIDTH, y1: y(top * share), y2: y(top * share) }),
      s("text", { class: "axis", x: LEFT - 8, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)),
    ]),
    at.length > 1 && [
      s("text", { class: "axis", x: LEFT, y: HEIGHT - 4 }, clockTime(at[0])),
      s("text", { class: "axis", x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, clockTime(at[at.length - 1])),
    ],
    lines,
    cursor,
  );
  return h(
    "figure",
    { class: "chart", "data-chart": title },
    picture,
    h("figcaption", { class: "legend" }, legend),
    h("div", { class: "at small muted num", "data-own": true, "aria-hidden": "true" }),
  );
}
