// Calls a server through the official TypeScript SDK, and prints what it saw as JSON.
//
//     node typescript.mjs v1|v2-legacy|v2-auto|v2-modern http URL
//     node typescript.mjs v1|v2-legacy|v2-auto|v2-modern stdio COMMAND ARG…
//
// v1 speaks the old era; v2 takes the era that it is told, or finds it out.

const MODES = {
  "v2-legacy": "legacy",
  "v2-auto": "auto",
  "v2-modern": { pin: "2026-07-28" },
};

const [client, transport, address, ...rest] = process.argv.slice(2);

async function parts() {
  if (client === "v1") {
    const sdk = "@modelcontextprotocol/sdk/client";
    return {
      ...(await import(`${sdk}/index.js`)),
      ...(await import(`${sdk}/streamableHttp.js`)),
      ...(await import(`${sdk}/stdio.js`)),
    };
  }
  const sdk = "@modelcontextprotocol/client";
  return { ...(await import(sdk)), ...(await import(`${sdk}/stdio`)) };
}

async function connect() {
  const { Client, StreamableHTTPClientTransport, StdioClientTransport } = await parts();
  const options = client === "v1" ? {} : { versionNegotiation: { mode: MODES[client] } };
  const connected = new Client({ name: "kailash-conformance", version: "1" }, options);
  const way =
    transport === "http"
      ? new StreamableHTTPClientTransport(new URL(address))
      : new StdioClientTransport({ command: address, args: rest, env: process.env });
  await connected.connect(way);
  return { connected, way };
}

async function outcome(work) {
  try {
    return await work();
  } catch (error) {
    return { thrown: String(error), code: error.code };
  }
}

async function all(list, name) {
  const found = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? {} : { cursor });
    found.push(...page[name]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

const { connected, way } = await connect();
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
report.resource =
  report.resources?.length &&
  (await outcome(() => connected.readResource({ uri: report.resources[0].uri })));
await way.terminateSession?.();
await connected.close();
console.log(JSON.stringify(report));
