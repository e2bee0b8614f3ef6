// What the page says: what it did, and what went wrong.

import { Problem } from "./api.js";

const $ = (id) => document.getElementById(id);

export function say(text) {
  $("problem").hidden = true;
  $("status").hidden = !text;
  $("status").textContent = text;
}

export function complain(text) {
  $("status").hidden = true;
  $("problem").hidden = false;
  $("problem").firstElementChild.textContent = text;
}

// Do something; say what is wrong if that can be put into words.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    if (!(error instanceof Problem)) throw error;
    complain(error.message);
    return undefined;
  }
}

$("dismiss").onclick = () => { $("problem").hidden = true; };
