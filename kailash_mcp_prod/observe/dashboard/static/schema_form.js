// A form of a JSON schema. What it has no field for is written as JSON.

import { h } from "./dom.js";

const MOST_FIELDS = 60;

function simple(schema) {
  for (const part of schema.anyOf ?? schema.oneOf ?? []) {
    if (part.type && part.type !== "null") return { ...schema, ...part, nullable: true };
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((each) => each !== "null");
    // An exact decimal is a text as well as a number.
    const type = types.length === 1 ? types[0] : types.includes("string") && !types.includes("object") && !types.includes("array") ? "string" : undefined;
    return { ...schema, type, nullable: types.length < schema.type.length };
  }
  return schema;
}

const dig = (value, path) => path.reduce((each, name) => each?.[name], value);

function place(values, path, value) {
  const [first, ...rest] = path;
  const copy = { ...(values ?? {}) };
  const inner = rest.length ? place(copy[first], rest, value) : value;
  if (inner === undefined || (rest.length && inner && !Object.keys(inner).length)) delete copy[first];
  else copy[first] = inner;
  return copy;
}

/* `state` is {values, texts, problems}; `changed` is called after each change of it. */
export function schemaForm(schema, state, changed) {
  const known = simple(schema);
  let fields = 0;

  const set = (path, value) => {
    state.values = place(state.values, path, value);
    changed();
  };

  const problemOf = (path) => state.problems[path.join(".")];

  const note = (path, problem) => {
    const name = path.join(".");
    if (problem) state.problems[name] = problem;
    else delete state.problems[name];
  };

  function control(path, schema_, id) {
    const own = simple(schema_);
    const name = path.join(".");
    const value = dig(state.values, path);
    const wrong = problemOf(path);
    const common = { id, name, "data-bound": true, "aria-invalid": wrong ? "true" : false, "aria-describedby": `${id}-hint` };
    if (own.enum) {
      return h(
        "select",
        { ...common, on: { change: (event) => set(path, event.target.value === "" ? undefined : own.enum[Number(event.target.value)]) } },
        h("option", { value: "" }, "–"),
        own.enum.map((each, index) => h("option", { value: String(index), selected: value === each }, String(each))),
      );
    }
    if (own.type === "boolean") {
      return h(
        "select",
        { ...common, on: { change: (event) => set(path, { true: true, false: false }[event.target.value]) } },
        h("option", { value: "" }, "–"),
        h("option", { value: "true", selected: value === true }, "true"),
        h("option", { value: "false", selected: value === false }, "false"),
      );
    }
    if (own.type === "integer" || own.type === "number") {
      return h("input", {
        ...common,
        inputmode: own.type === "integer" ? "numeric" : "decimal",
        value: state.texts[name] ?? (value ?? ""),
        on: {
          input: (event) => {
            const text = event.target.value.trim();
            state.texts[name] = event.target.value;
            const given = Number(text);
            const bad = text !== "" && (Number.isNaN(given) || (own.type === "integer" && !Number.isInteger(given)));
            note(path, bad && (own.type === "integer" ? "A whole number." : "A number."));
            set(path, text === "" || bad ? undefined : given);
          },
        },
      });
    }
    if (own.type === "string") {
      return h("input", {
        ...common,
        value: value ?? "",
        placeholder: own.format === "date-time" ? "2030-01-31T09:00:00Z" : own.format === "date" ? "2030-01-31" : false,
        autocomplete: "off",
        spellcheck: "false",
        on: { input: (event) => set(path, event.target.value === "" ? undefined : event.target.value) },
      });
    }
    return h("textarea", {
      ...common,
      rows: 3,
      spellcheck: "false",
      value: state.texts[name] ?? (value === undefined ? "" : JSON.stringify(value, null, 2)),
      placeholder: own.type === "array" ? "[…] as JSON" : "{…} as JSON",
      on: {
        input: (event) => {
          state.texts[name] = event.target.value;
          try {
            const given = event.target.value.trim() === "" ? undefined : JSON.parse(event.target.value);
            note(path, null);
            set(path, given);
          } catch {
            note(path, "This is not valid JSON.");
            set(path, undefined);
          }
        },
      },
    });
  }

  function field(path, schema_, required) {
    fields += 1;
    const id = `arg-${path.join("-")}`;
    const own = simple(schema_);
    const name = path[path.length - 1];
    if (own.type === "object" && own.properties && path.length < 3 && Object.keys(own.properties).length) {
      return h(
        "fieldset",
        {},
        h("legend", {}, name, required && h("span", { class: "muted" }, " (required)")),
        own.description && h("p", { class: "hint small muted" }, own.description),
        h("div", { class: "fields" }, inside(path, own)),
      );
    }
    const facts = [own.description, own.default !== undefined && `Default: ${JSON.stringify(own.default)}.`].filter(Boolean).join(" ");
    return h(
      "div",
      { class: "field" },
      h("label", { for: id }, name, required && h("span", { class: "muted" }, " (required)")),
      control(path, schema_, id),
      h("div", { class: "hint", id: `${id}-hint` }, facts),
      problemOf(path) && h("div", { class: "wrong" }, problemOf(path)),
    );
  }

  function inside(path, own) {
    return Object.entries(own.properties ?? {}).map(([name, each]) =>
      fields < MOST_FIELDS ? field([...path, name], each, (own.required ?? []).includes(name)) : null,
    );
  }

  return h("div", { class: "stack tight" }, inside([], known));
}
