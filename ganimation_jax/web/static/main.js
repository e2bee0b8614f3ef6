// The page: tabs, photos that arrive, and the models that are compared.

import { onForgotten, page, post } from "./api.js";
import * as controls from "./controls.js";
import * as films from "./films.js";
import { attempt, complain, say } from "./say.js";
import * as stage from "./stage.js";
import { aim, begin, changed, onChange, store, wanted } from "./store.js";

const $ = (id) => document.getElementById(id);
const FIRST = "angry"; // what the portrait shows when the page opens

async function send(file) {
  return (await (file ? post("open", file, { name: file.name }) : post("sample"))).json();
}

// Open a photo. If it cannot be used, the page keeps the photo that it has.
async function open(file) {
  const { photo: limit } = store.page.limits;
  if (file && file.size > limit) { complain(`The photo is larger than ${Math.round(limit / 2 ** 20)} MB.`); return; }
  if (store.photo) say("Opening the photo \u2026");
  const photo = await send(file);
  store.file = file;
  begin(photo);
  films.forget();
  const count = photo.faces.length;
  const several = count > 1 ? `${count} faces were found. Choose one by its number.` : "";
  say([several, photo.note].filter(Boolean).join(" "));
  if (!file) {
    const { expressions } = store.page;
    const first = FIRST in expressions ? FIRST : Object.keys(expressions)[0];
    if (first) aim(first, expressions[first]);
  }
  await stage.arrived();
  changed("photo");
  changed("history");
}

const tabs = [...document.querySelectorAll("[role=tab]")];
function choose(tab, focus = false) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.ariaSelected = String(chosen);
    one.tabIndex = chosen ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  $("work").classList.toggle("alone", tab.id === "tab-drive");
  if (tab.id === "tab-compare") attempt(compare);
  if (tab.id === "tab-drive") [$("driven").src, $("driven").alt] = [$("before").src, $("before").alt];
}
const current = () => tabs.find((tab) => tab.ariaSelected === "true").id;

// The same photo and expression by each model.
let comparing = false, more = false;
async function compare() {
  const { models } = store.page;
  if (models.length < 2) return;
  if (comparing) { more = true; return; }
  comparing = true;
  try {
    do {
      more = false;
      for (const [number, model] of models.entries()) {
        const blob = await (await post("view", { faces: wanted(), model: number })).blob();
        const image = $("pair").children[number].firstElementChild;
        URL.revokeObjectURL(image.src);
        image.src = URL.createObjectURL(blob);
        image.alt = `The photo, edited by ${model.name}`;
      }
    } while (more);
  } finally { comparing = false; }
}

function layOutModels() {
  const { models } = store.page;
  if (models.length > 1) {
    $("compare-how").textContent = "One photo and one expression, edited by each model.";
    $("pair").append(...models.map((model) => {
      const figure = document.createElement("figure"), caption = document.createElement("figcaption");
      caption.textContent = `${model.name}, ${model.size} x ${model.size} pixels`;
      figure.append(Object.assign(document.createElement("img"), { alt: "" }), caption);
      return figure;
    }));
  }
  for (const model of models) {
    const list = document.createElement("dl");
    for (const [name, fact] of Object.entries(model.facts)) {
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name;
      text.textContent = fact;
      list.append(term, text);
    }
    $("facts").append(list);
  }
}

// A file from anywhere: the tab that is open says what it is for.
function take(file) {
  const video = file.type.startsWith("video/");
  if (current() === "tab-drive" && video) films.openVideo.drive(file);
  else if (video) { choose($("tab-video")); films.openVideo.edit(file); }
  else { if (current() !== "tab-compare") choose($("tab-photo")); attempt(() => open(file)); }
}

function listen() {
  for (const tab of tabs) tab.onclick = () => choose(tab);
  document.querySelector("[role=tablist]").onkeydown = (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!move) return;
    event.preventDefault();
    const place = tabs.findIndex((tab) => tab.ariaSelected === "true") + move;
    const next = move === -Infinity ? 0 : move === Infinity ? tabs.length - 1 : (place + tabs.length) % tabs.length;
    choose(tabs[next], true);
  };
  for (const input of [$("photo"), $("camera")]) {
    input.onchange = () => { const [file] = input.files; input.value = ""; if (file) attempt(() => open(file)); };
  }
  window.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) { event.preventDefault(); take(file); }
  });
  let depth = 0;
  const over = (event, by) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    depth = by ? depth + by : 0;
    $("drop").hidden = depth <= 0;
  };
  window.addEventListener("dragenter", (event) => over(event, 1));
  window.addEventListener("dragleave", (event) => over(event, -1));
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    over(event, 0);
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
  onChange((what) => { if (what === "look" && current() === "tab-compare") attempt(compare); });
}

attempt(async () => {
  store.page = await page();
  onForgotten(async () => { await send(store.file); return true; });
  stage.start();
  controls.start();
  films.start();
  layOutModels();
  listen();
  await open(null);
  document.body.dataset.ready = "true";
});
