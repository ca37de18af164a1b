// Calls the real server through the TypeScript SDK, and prints what it saw as JSON.
//
//     node typescript.mjs CLIENT http URL
//     node typescript.mjs CLIENT stdio COMMAND ARG…

import { all, connect, outcome } from "./sdk.mjs";

const { connected, way, start } = await connect(process.argv.slice(2));
await start();
const call = (name, args) => outcome(() => connected.callTool({ name, arguments: args }));
const offers = connected.getServerCapabilities() ?? {};
const tools = await all((page) => connected.listTools(page), "tools");
const created = await call("Company_create", { data: { name: "Nordlicht GmbH", city: "Kiel" } });
const report = {
  era: connected.getProtocolEra?.() ?? "legacy",
  protocol: connected.getNegotiatedProtocolVersion?.() ?? way.protocolVersion,
  server: connected.getServerVersion()?.name,
  tools: tools.map((tool) => tool.name),
  outputSchemas: tools.filter((tool) => tool.outputSchema !== undefined).length,
  created,
  read: await call("Company_read", { id: created.structuredContent?.id }),
  listed: await call("Company_list", { filter: { city: "Kiel" } }),
  missing: await call("Company_read", { id: "nobody" }),
  wrong: await call("Company_create", { data: { nam: "Nordlicht GmbH" } }),
  unknown: await call("Company_destroy", {}),
  resources: offers.resources && (await all((page) => connected.listResources(page), "resources")),
  prompts: offers.prompts && (await all((page) => connected.listPrompts(page), "prompts")),
};
report.unreadable = [];
for (const { uri } of report.resources ?? []) {
  const contents = await outcome(() => connected.readResource({ uri }));
  if (contents.thrown) report.unreadable.push([uri, contents.thrown]);
}
await way.terminateSession?.();
await connected.close();
console.log(JSON.stringify(report));
