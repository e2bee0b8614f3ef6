// The controls: expressions, strength, halves, muscles; expressions from and to files.

import { download, post } from "./api.js";
import { aim, asked, canRedo, canUndo, commit, look, onChange, plain, recipe, redo, reset, setStrength, setUnit, store, undo, value, wanted } from "./store.js";
import { attempt, say } from "./say.js";

const $ = (id) => document.getElementById(id);
const percent = (x) => `${Math.round(x * 100)}%`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function expressions() {
  $("expressions").append(...Object.keys(store.page.expressions).map((name) => {
    const button = element("button", { type: "button", ariaPressed: "false" }, element("span"), element("span", { textContent: name }));
    button.dataset.name = name;
    // The chosen one, once more, is taken back.
    button.onclick = () => (recipe().name === name ? aim("", {}) : aim(name, store.page.expressions[name]));
    return button;
  }));
}

// Small pictures of the face with each expression.
let asking = 0;
export async function previews() {
  const mine = ++asking;
  const both = (target) => { const one = { target, strength: 1, moved: {} }; return { left: one, right: one }; };
  const looks = Object.values(store.page.expressions).map(both);
  const sheet = await (await post("previews", { face: store.face, looks })).blob();
  if (mine !== asking) return;
  const url = `url(${URL.createObjectURL(sheet)})`;
  const buttons = [...$("expressions").children];
  buttons.forEach((button, place) => Object.assign(button.firstElementChild.style, {
    backgroundImage: url,
    backgroundSize: `${buttons.length * 100}% 100%`,
    backgroundPosition: `${(place / (buttons.length - 1)) * 100}% 0`,
  }));
}

const sliders = new Map();
function muscles() {
  let group = "";
  for (const muscle of store.page.muscles) {
    if (muscle.group !== group) $("units").append(element("h3", { textContent: (group = muscle.group) }));
    const id = `unit-${muscle.name}`;
    const input = element("input", { type: "range", id, min: 0, max: 1, step: 0.01 });
    const output = element("output", {});
    output.htmlFor = id;
    const mark = element("i");
    const label = element("label", { htmlFor: id, textContent: muscle.label });
    const row = element("div", { className: "slider", title: muscle.tooltip }, label, output, element("span", { className: "track" }, input, mark));
    input.oninput = () => setUnit(muscle.name, Number(input.value));
    input.onchange = commit;
    $("units").append(row);
    sliders.set(muscle.name, { input, output, mark, row });
  }
}

function showRecipe() {
  if (!store.photo) return;
  const one = recipe(), { own } = store.photo.faces[store.face];
  for (const button of $("expressions").children) button.ariaPressed = String(one.name === button.dataset.name);
  $("strength").value = one.strength * 100;
  $("strength-value").value = percent(one.strength);
  $("strength").disabled = !Object.keys(one.target).length;
  for (const [unit, { input, output, mark, row }] of sliders) {
    const now = value(one, unit);
    if (Math.abs(Number(input.value) - now) > 0.004) input.value = now;
    output.value = percent(now);
    input.setAttribute("aria-valuetext", `${percent(now)}, the face shows ${percent(own[unit])}`);
    // The thumb's middle does not reach the ends of the track.
    mark.style.left = `calc(8px + ${own[unit]} * (100% - 16px))`;
    row.classList.toggle("changed", Math.abs(now - own[unit]) > 0.005);
  }
}

function showHistory() {
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
}

async function copyFrom(file, region) {
  const found = await (await post("expression", file, { name: file.name })).json();
  const kept = new Set(store.page.muscles.filter((one) => region === "all" || one.region === region).map((one) => one.name));
  const only = (half) => Object.fromEntries(Object.entries(half).filter(([unit]) => kept.has(unit)));
  const others = found.unknown.length ? ` The model has no ${found.unknown.join(", ")}.` : "";
  aim(file.name, only(found.left), only(found.right));
  say(`The face takes the expression of ${file.name}.${others} Strength sets how much of it.`);
}

export function start() {
  expressions();
  muscles();
  $("strength").oninput = () => setStrength(Number($("strength").value) / 100);
  $("strength").onchange = commit;
  $("halves").onchange = (event) => { store.half = event.target.value; showRecipe(); };
  $("undo").onclick = undo;
  $("redo").onclick = redo;
  $("reset").onclick = reset;
  window.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target.closest("input[type=number]")) return;
    const key = event.key.toLowerCase();
    if (key === "z" || key === "y") {
      event.preventDefault();
      if (key === "y" || event.shiftKey) redo(); else undo();
    }
  });
  const chosen = (input, action) => {
    input.onchange = () => { const [file] = input.files; input.value = ""; if (file) attempt(() => action(file)); };
  };
  chosen($("donor"), (file) => copyFrom(file, document.querySelector("#regions input:checked").value));
  chosen($("load-expression"), async (file) => { await copyFrom(file, "all"); setStrength(1); commit(); });
  $("save-expression").onclick = () => attempt(async () => {
    const file = await (await post("save", { kind: "json", face: store.face, faces: wanted() })).blob();
    download(URL.createObjectURL(file), "expression.json");
  });
  onChange((what) => {
    if (what === "history") showHistory(); else showRecipe();
    if (what === "face" || what === "photo") attempt(previews);
  });
}

export const currentLook = () => {
  const one = look();
  return asked(one.left) || asked(one.right) ? { left: plain(one.left), right: plain(one.right) } : null;
};
