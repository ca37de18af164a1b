// Elements without HTML: every text becomes a text node, so none can become an element.

const SVG = "http://www.w3.org/2000/svg";

function dispatch(event) {
  event.currentTarget.handlers?.[event.type]?.(event);
}

function listen(node, handlers) {
  for (const type of Object.keys(handlers)) {
    if (!node.handlers || !(type in node.handlers)) node.addEventListener(type, dispatch);
  }
  node.handlers = { ...Object.fromEntries(Object.keys(node.handlers ?? {}).map((type) => [type, null])), ...handlers };
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") listen(node, value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      node.append(child instanceof Node ? child : String(child));
    }
  }
  return node;
}

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const PATHS = {
  overview: "M3 13h4l3-8 4 14 3-6h4",
  tools: "M14.5 6.5a4 4 0 0 0-5 5L4 17l3 3 5.5-5.5a4 4 0 0 0 5-5L15 12l-3-3z",
  sessions: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M3 20a6 6 0 0 1 12 0M16 4.5a3.5 3.5 0 0 1 0 6M18 14.5a6 6 0 0 1 3 5.5",
  workspaces: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  workflows: "M6 4h5v5H6zM13 15h5v5h-5zM8.5 9v4a2 2 0 0 0 2 2H13M11 6.5h3a2 2 0 0 1 2 2V12",
  limits: "M4 18a8 8 0 1 1 16 0M12 18l4-6",
  nexus: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6M5 7.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5M19 21.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5M6.800 6.800 9.800 9.800M14.200 14.200 17.200 17.200",
  audit: "M7 3h10a1 1 0 0 1 1 1v17l-3-2-3 2-3-2-3 2V4a1 1 0 0 1 1-1M9 8h6M9 12h6",
  explain: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M9.5 9.5a2.5 2.5 0 1 1 3.5 2.300c-.7.3-1 .8-1 1.5v.4M12 17v.1",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M20 20l-4-4",
  ok: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4 2.5 20h19zM12 10v4M12 17v.1",
  bad: "M6 6l12 12M18 6 6 18",
  busy: "M12 3a9 9 0 1 0 9 9M12 7v5l3 2",
  idle: "M6 12h12",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  menu: "M4 7h16M4 12h16M4 17h16",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5",
  auto: "M4 5h16v11H4zM9 20h6M12 16v4",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  keys: "M3 7h18v10H3zM7 11v.1M11 11v.1M15 11v.1M8 14h8",
  play: "M7 5l11 7-11 7z",
  back: "M14 6l-6 6 6 6",
  empty: "M4 13l3-8h10l3 8v6H4zM4 13h5l1 2h4l1-2h5",
};

export function icon(name, kind = "") {
  return s("svg", { class: `icon ${kind}`, viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: PATHS[name] }));
}

function alike(old, fresh) {
  return (
    old.nodeType === fresh.nodeType &&
    old.nodeName === fresh.nodeName &&
    (old.dataset?.key ?? null) === (fresh.dataset?.key ?? null)
  );
}

/* Makes `old` look like `fresh` and keeps what is the same: focus, scroll positions, what is typed. */
export function morph(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // What happens in it is its own: what the pointer shows of a chart.
  if (fresh.dataset?.own !== undefined) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    // Whoever has opened or closed it decides.
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.handlers || fresh.handlers) listen(old, fresh.handlers ?? {});
  const keyed = new Map();
  for (const child of old.childNodes) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = child.dataset?.key ? keyed.get(child.dataset.key) : undefined;
    if (known && alike(known, child)) {
      if (known !== place) old.insertBefore(known, place);
      else place = place.nextSibling;
      morph(known, child);
    } else if (place && alike(place, child)) {
      const next = place.nextSibling;
      morph(place, child);
      place = next;
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  if ("value" in fresh && "value" in old && old !== document.activeElement && fresh.nodeName !== "LI") {
    if (fresh.hasAttribute("data-bound") && old.value !== fresh.value) old.value = fresh.value;
  }
}
