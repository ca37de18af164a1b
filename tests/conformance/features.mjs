// Uses what the fixture server offers through the TypeScript SDK, and prints what it saw as JSON.
//
//     node features.mjs CLIENT http URL

import { connect, outcome } from "./sdk.mjs";

const PATIENCE_MS = 5000;

const argv = process.argv.slice(2);
const { connected, way, on, start } = await connect(argv, {
  elicitation: {},
  sampling: {},
  roots: {},
});

const seen = { asked: [], logs: [] };
const heard = {};
const news = (name) => new Promise((resolve) => (heard[name] = resolve));
const changed = news("changed");
const updated = news("updated");

on("elicitation/create", async ({ params }) => {
  seen.asked.push("elicitation/create");
  const values = { string: "Ada", boolean: true };
  const fields = Object.entries(params.requestedSchema.properties);
  return {
    action: "accept",
    content: Object.fromEntries(fields.map(([name, { type }]) => [name, values[type]])),
  };
});
on("sampling/createMessage", async () => {
  seen.asked.push("sampling/createMessage");
  return { role: "assistant", content: { type: "text", text: "Paris" }, model: "none" };
});
on("roots/list", async () => {
  seen.asked.push("roots/list");
  return { roots: [{ uri: "file:///srv/data", name: "data" }] };
});
on("notifications/message", ({ params }) => void seen.logs.push(params.data));
on("notifications/tools/list_changed", () => heard.changed(true));
on("notifications/resources/updated", ({ params }) => heard.updated(params.uri));

async function text(name, args = {}, options = {}) {
  const result = await outcome(() =>
    connected.callTool({ name, arguments: args, ...options.params }, ...(options.rest ?? [])),
  );
  return result.thrown ?? result.content.map((block) => block.text).join("\n");
}

const within = (promise) =>
  Promise.race([
    promise,
    new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, "nothing").unref()),
  ]);
// The result's schema stands between the parameters and the options in the first version.
const rest = (options) => (argv[0] === "v1" ? [undefined, options] : [options]);

await start();
const modern = connected.getProtocolEra?.() === "modern";
const steps = [];
const progress = { rest: rest({ onprogress: (each) => steps.push(each.progress) }) };
const logLevel = { params: { _meta: { "io.modelcontextprotocol/logLevel": "info" } } };
if (!modern) await connected.setLoggingLevel("info");

const watched = "test://watched-resource";
let subscription;
if (modern) {
  const filter = { toolsListChanged: true, resourceSubscriptions: [watched] };
  subscription = await connected.listen(filter);
} else {
  await connected.subscribeResource({ uri: watched });
}

const given_up = new AbortController();
const slow = text("slow_compute", { seconds: 30 }, { rest: rest({ signal: given_up.signal }) });
setTimeout(() => given_up.abort("tired"), 200);

const report = {
  era: modern ? "modern" : "legacy",
  progressed: await text("test_tool_with_progress", {}, progress),
  steps,
  logged: await text("test_tool_with_logging", {}, modern ? logLevel : {}),
  elicited: await text("test_input_required_result_elicitation"),
  rounds: await text("test_input_required_result_multi_round"),
  sampled: await text("test_sampling", { prompt: "What is the capital of France?" }),
  several: await text("test_input_required_result_multiple_inputs"),
  prompt: await outcome(() => connected.getPrompt({ name: "test_input_required_result_prompt" })),
  reconnected: await text("test_reconnection"),
  completed: await outcome(() =>
    connected.complete({
      ref: { type: "ref/prompt", name: "test_prompt_with_arguments" },
      argument: { name: "arg1", value: "par" },
    }),
  ),
  missing: await outcome(() => connected.readResource({ uri: "test://nothing" })),
  changing: await text("test_trigger_tool_change"),
  changed: await within(changed),
  updating: await text("test_trigger_resource_update"),
  updated: await within(updated),
  given_up: await within(slow),
  ...seen,
};
await subscription?.close();
await way.terminateSession?.();
await connected.close();
console.log(JSON.stringify(report));
