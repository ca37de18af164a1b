// What the pages ask the server. A log-in that has ended ends the page at once.

export const root = document.body.dataset.root;

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.error = error;
  }
}

export function logOutHere() {
  document.body.replaceChildren();
  const here = location.pathname.slice(root.length) + location.search;
  location.replace(`${root}/login${here === "/" ? "" : `#${here}`}`);
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`${root}/api/${path}`, { credentials: "same-origin", redirect: "error", ...options });
  } catch {
    throw new Refused(0, { code: "unavailable", message: "The server does not answer. Trying again." });
  }
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Refused(response.status, { code: "internal", message: `The answer makes no sense (${response.status}).` });
  }
  if (response.ok) return body;
  if (response.status === 401 && path !== "login") {
    logOutHere();
    return new Promise(() => {});
  }
  throw new Refused(response.status, body.error ?? { code: "internal", message: "It failed." });
}

export const get = (path) => ask(path, {});

export const post = (path, body = {}) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Dashboard": "1" },
    body: JSON.stringify(body),
  });
