// A client of the API: sends the key, throws problems as errors, and reconnects to the events of a job.

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem("key"),
  set: (value) => sessionStorage.setItem("key", value),
};

export async function call(path, { query = {}, headers = {}, ...request } = {}) {
  const search = new URLSearchParams(query).toString();
  const authorization = key.get() ? { authorization: `Bearer ${key.get()}` } : {};
  const response = await fetch(search ? `${path}?${search}` : path, { ...request, headers: { ...headers, ...authorization } }).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server could not be reached.");
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({ detail: `The server answered ${response.status}.` }));
  throw new Problem(response.status, body.detail);
}

export const colorize = async (file, query, signal, hints = []) => decoded(await send("/v1/colorize", file, query, signal, hints));

// The colors that a point may have, most probable first.
export const plausibleColors = async (file, query, signal) => (await send("/v1/colors", file, query, signal)).colors;

// As the most probable categories, in a small size.
export const variants = async (file, query, signal) => (await send("/v1/colorize/variants", file, query, signal)).variants.map(decoded);

async function send(path, file, query, signal, hints = []) {
  const form = new FormData();
  form.append("file", file);
  if (hints.length) form.append("hints", JSON.stringify(hints));
  const request = { method: "POST", body: form, query, signal, headers: { accept: "application/json" } };
  return (await call(path, request)).json();
}

function decoded({ decision, media_type, image }) {
  const bytes = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
  return { decision, blob: new Blob([bytes], { type: media_type }) };
}

// The events of a job after the id `last`, until the job has ended; reconnects when the connection is lost.
export async function* events(job, signal, last = null) {
  for (;;) {
    try {
      const headers = last === null ? {} : { "last-event-id": last };
      const response = await call(`/v1/jobs/${job}/events`, { headers, signal });
      for await (const event of parseEvents(response.body)) {
        last = event.id ?? last;
        if (!event.data) continue;
        yield { type: event.event, data: JSON.parse(event.data) };
        if (event.event === "end") return;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error.status >= 400 && error.status < 500)) throw error;
      yield { type: "lost" };
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function* parseEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r", "");
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n").filter((line) => !line.startsWith(":"));
        yield Object.fromEntries(lines.map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).trimStart()]));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
