// The official TypeScript SDK, its first version and its second, behind one small surface.
//
// The clients are v1, v2-legacy, v2-auto and v2-modern. v1 speaks the old era; v2 takes the era
// that it is told, or finds it out.

const MODES = {
  "v2-legacy": "legacy",
  "v2-auto": "auto",
  "v2-modern": { pin: "2026-07-28" },
};

async function parts(client) {
  if (client === "v1") {
    const sdk = "@modelcontextprotocol/sdk";
    return {
      ...(await import(`${sdk}/client/index.js`)),
      ...(await import(`${sdk}/client/streamableHttp.js`)),
      ...(await import(`${sdk}/client/stdio.js`)),
      ...(await import(`${sdk}/types.js`)),
    };
  }
  const sdk = "@modelcontextprotocol/client";
  return { ...(await import(sdk)), ...(await import(`${sdk}/stdio`)) };
}

// Connects, and returns the client, its transport, and `on(method, handler)` for both kinds of
// messages that a server may send.
export async function connect([client, transport, address, ...rest], capabilities = {}) {
  const sdk = await parts(client);
  const options = client === "v1" ? {} : { versionNegotiation: { mode: MODES[client] } };
  const connected = new sdk.Client(
    { name: "kailash-conformance", version: "1" },
    { capabilities, ...options },
  );
  // The first version knows methods by their schemas.
  const schemas = {
    "elicitation/create": sdk.ElicitRequestSchema,
    "sampling/createMessage": sdk.CreateMessageRequestSchema,
    "roots/list": sdk.ListRootsRequestSchema,
    "notifications/message": sdk.LoggingMessageNotificationSchema,
    "notifications/tools/list_changed": sdk.ToolListChangedNotificationSchema,
    "notifications/resources/updated": sdk.ResourceUpdatedNotificationSchema,
  };
  const on = (method, handler) => {
    const key = client === "v1" ? schemas[method] : method;
    const register = method.startsWith("notifications/") ? "Notification" : "Request";
    connected[`set${register}Handler`](key, handler);
  };
  const way =
    transport === "http"
      ? new sdk.StreamableHTTPClientTransport(new URL(address))
      : new sdk.StdioClientTransport({ command: address, args: rest, env: process.env });
  return { connected, way, on, start: () => connected.connect(way) };
}

// What the work gives, or how it failed.
export async function outcome(work) {
  try {
    return await work();
  } catch (error) {
    return { thrown: String(error), code: error.code };
  }
}

// All items of a list in pages.
export async function all(list, name) {
  const found = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? {} : { cursor });
    found.push(...page[name]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}
