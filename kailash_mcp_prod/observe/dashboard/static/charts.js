// Line charts in SVG. Lines differ by their strokes too, and the legend has the newest figures.
// The picture is stretched to its place; what is written at the axes is not, so it stays readable.

import { h, s } from "./dom.js";
import { clockTime } from "./format.js";

const WIDTH = 1000;
const HEIGHT = 100;

function nice(top) {
  if (!(top > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= top * 1.0001) ?? 10 * power;
}

/* A point without neighbours is a stroke of no length, whose round ends are a dot. */
function pathOf(values, x, y) {
  let path = "";
  values.forEach((value, place) => {
    if (value === null) return;
    const joined = place > 0 && values[place - 1] !== null;
    path += `${joined ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(2)}${joined ? "" : "h0"}`;
  });
  return path;
}

function areaOf(values, x, y) {
  const first = values.findIndex((value) => value !== null);
  const last = values.findLastIndex((value) => value !== null);
  if (first < 0 || values.slice(first, last + 1).includes(null)) return null;
  return `${pathOf(values, x, y)}L${x(last).toFixed(1)} ${HEIGHT}L${x(first).toFixed(1)} ${HEIGHT}Z`;
}

/* What was under the pointer: its time and figures, and a line there. */
function pointing(at, series, x, format) {
  const line = (event) => event.currentTarget.querySelector(".cursor");
  const said = (event) => event.currentTarget.closest(".chart").querySelector(".at");
  return {
    pointermove: (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const over = ((event.clientX - box.left) / box.width) * WIDTH;
      const place = at.reduce((best, _, index) => (Math.abs(x(index) - over) < Math.abs(x(best) - over) ? index : best), 0);
      for (const end of ["x1", "x2"]) line(event).setAttribute(end, x(place));
      line(event).setAttribute("visibility", "visible");
      said(event).textContent = `${clockTime(at[place])} · ${series.map((each) => `${each.label} ${format(each.values[place])}`).join(" · ")}`;
    },
    pointerleave: (event) => {
      line(event).setAttribute("visibility", "hidden");
      said(event).textContent = "";
    },
  };
}

const legendOf = (series, format, newest) =>
  series.map((each, index) =>
    h(
      "span",
      { class: "key" },
      s("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, s("line", { class: `c${index + 1}`, x1: 0, x2: 22, y1: 4, y2: 4 })),
      `${each.label} `,
      h("b", { "data-series": each.label }, format(newest(each.values))),
    ),
  );

/* series: [{label, values}], one value for each of `at` (Unix seconds); null is a gap. */
export function lineChart(title, at, series, { format, floor = 1, ceiling } = {}) {
  const known = series.flatMap((each) => each.values).filter((value) => value !== null);
  const top = ceiling ?? nice(Math.max(floor, ...known));
  const span = Math.max(1, at[at.length - 1] - at[0]);
  const x = (index) => (WIDTH * (at[index] - at[0])) / span;
  const y = (value) => HEIGHT * (1 - Math.min(value, top) / top);
  const newest = (values) => values.findLast((value) => value !== null) ?? null;
  const readings = series.map((each) => `${each.label} ${format(newest(each.values))}`).join(", ");
  const area = areaOf(series[0].values, x, y);
  return h(
    "figure",
    { class: "chart", "data-chart": title },
    h(
      "div",
      { class: "plot" },
      h("div", { class: "axis y num", "aria-hidden": "true" }, [1, 0.5, 0].map((share) => h("span", {}, format(top * share)))),
      s(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${readings}`, on: pointing(at, series, x, format) },
        [0, 0.5, 1].map((share) => s("line", { class: "gridline", x1: 0, x2: WIDTH, y1: HEIGHT * share, y2: HEIGHT * share })),
        area && s("path", { class: "area c1", d: area }),
        series.map((each, index) => s("path", { class: `line c${index + 1}`, d: pathOf(each.values, x, y) || "M0 0" })),
        s("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden", "data-own": true }),
      ),
      !known.length && h("p", { class: "nothing small muted" }, "None in this time"),
      h("div", { class: "axis x num", "aria-hidden": "true" }, h("span", {}, clockTime(at[0])), h("span", {}, clockTime(at[at.length - 1]))),
    ),
    h("figcaption", { class: "legend" }, legendOf(series, format, newest)),
    h("div", { class: "at small muted num", "data-own": true, "aria-hidden": "true" }),
  );
}
