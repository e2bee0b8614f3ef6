// Requests to the server that this page came from. It knows the page by a random key.

const key = [...crypto.getRandomValues(new Uint8Array(16))].map((x) => x.toString(16).padStart(2, "0")).join("");

// A problem that the page can put into words.
export class Problem extends Error {}
const LOST = "The server does not answer. Is it still running?";

let reopen = async () => false; // sends the photo again, to a server that has forgotten it
export function onForgotten(again) { reopen = again; }

// The server keeps what this page has for as long as this connection lasts.
let here;
export function stay() {
  return (here ??= new Promise((resolve) => {
    const source = new EventSource(`/api/stay?visitor=${key}`);
    source.onmessage = resolve;
    source.onerror = () => {
      // Browsers try again by themselves, but not for ever.
      if (source.readyState === EventSource.CLOSED) { here = undefined; setTimeout(stay, 2000); }
    };
  }));
}

async function ask(path, options = {}) {
  await stay();
  try {
    return await fetch(path, { ...options, headers: { "x-visitor": key } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(LOST);
  }
}

async function checked(answer) {
  if (answer.ok) return answer;
  const text = await answer.text();
  let said;
  try { said = JSON.parse(text).problem; } catch { said = answer.status < 500 ? text : ""; }
  throw new Problem(said || "Something went wrong on the server. Its log says what.");
}

// Post JSON or a file. If the server has forgotten the photo, it gets it again, once.
export async function post(name, body, query = {}, options = {}) {
  const path = `/api/${name}?${new URLSearchParams(query)}`;
  const sent = { method: "POST", body: body instanceof Blob ? body : JSON.stringify(body ?? {}), ...options };
  let answer = await ask(path, sent);
  if (answer.status === 410 && (await reopen())) answer = await ask(path, sent);
  return checked(answer);
}

export async function page() { return (await checked(await ask("/api/page"))).json(); }

// The lines of JSON of a job; `each` is called with every one, the last is returned.
export async function job(name, body, query, signal, each) {
  const answer = await post(name, body, query, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", last = {};
  for (;;) {
    let part;
    try { part = await reader.read(); } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(LOST);
    }
    if (part.done) break;
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) each((last = JSON.parse(line)));
  }
  if (last.problem) throw new Problem(last.problem);
  return last;
}

export function fileUrl(path) { return `${path}?visitor=${key}`; }

export function download(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
