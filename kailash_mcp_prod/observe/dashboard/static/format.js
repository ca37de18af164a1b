// Figures and times as people read them.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const coarse = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (value) => (value === null || value === undefined ? "–" : whole.format(value));

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return Math.abs(value) < 10 ? fine.format(value) : Math.abs(value) < 100 ? coarse.format(value) : whole.format(value);
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${number(value)} %`);

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${number(ms)} ms`;
  if (ms < 60000) return `${number(ms / 1000)} s`;
  if (ms < 3600000) return `${number(ms / 60000)} min`;
  if (ms < 86400000) return `${number(ms / 3600000)} h`;
  return `${number(ms / 86400000)} d`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${number(value)} ${units[power]}`;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const clockTime = (seconds) => clock.format(new Date(seconds * 1000));

export function ago(iso) {
  const ms = Date.now() - new Date(iso).getTime();
  if (Math.abs(ms) < 1500) return "now";
  return ms >= 0 ? `${rough(ms)} ago` : `in ${rough(-ms)}`;
}

function rough(ms) {
  for (const [unit, size] of [["d", 86400000], ["h", 3600000], ["min", 60000]]) {
    if (ms >= size) return `${Math.floor(ms / size)} ${unit}`;
  }
  return `${Math.floor(ms / 1000)} s`;
}

/* In the viewer's own zone; the exact instant is in the tooltip. */
export const when = (iso) => (iso ? h("time", { datetime: iso, title: iso }, day.format(new Date(iso))) : "–");

export const since = (iso) => (iso ? h("time", { datetime: iso, title: iso }, ago(iso)) : "–");

export const plural = (many, one, more = `${one}s`) => `${count(many)} ${many === 1 ? one : more}`;
