// The photo: edited, original, side by side, with a slider, with numbered faces.

import { download, post } from "./api.js";
import { asked, changed, isEdited, onChange, store, wanted } from "./store.js";
import { attempt, say } from "./say.js";

const $ = (id) => document.getElementById(id);
const after = $("after"), before = $("before"), frame = $("frame");
let view = "edit", held = false;

function show(image, blob) {
  const url = URL.createObjectURL(blob), old = image.src;
  return new Promise((resolve) => {
    image.onload = image.onerror = () => { if (old.startsWith("blob:")) URL.revokeObjectURL(old); resolve(); };
    image.src = url;
  });
}

// Only one edit is asked for at a time; then the latest one, whatever came between.
let busy = false, again = false, settled = Promise.resolve();
export function refresh() {
  if (busy) { again = true; return settled; }
  busy = true;
  settled = (async () => {
    try {
      do {
        again = false;
        const body = { faces: wanted(), overlay: $("overlay").checked };
        await show(after, await (await post("view", body)).blob());
      } while (again);
      describe();
    } finally { busy = false; }
  })();
  return settled;
}

// What is shown, in words.
function describe() {
  const names = [...new Set(store.looks.flatMap((one) => [one.left, one.right]).filter(asked).map((one) => one.name || "moved muscles"))];
  const people = store.photo.faces.length === 1 ? "a face" : `${store.photo.faces.length} faces`;
  after.alt = names.length ? `The photo of ${people}, edited: ${names.join(", ")}` : `The photo of ${people}, not edited`;
  before.alt = `The original photo of ${people}`;
  after.dataset.edited = String(isEdited());
}

export async function arrived() {
  $("wait").hidden = true;
  frame.style.setProperty("--aspect", store.photo.width / store.photo.height);
  await show(before, await (await post("view", { faces: store.looks.map(() => null) })).blob());
  boxes();
  layOut();
  await refresh();
}

function boxes() {
  const { faces } = store.photo;
  $("boxes").replaceChildren(...(faces.length < 2 ? [] : faces.map((face, number) => {
    const button = document.createElement("button");
    const [left, top, right, bottom] = face.box;
    Object.assign(button.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%` });
    button.type = "button";
    button.ariaLabel = `Edit face ${number + 1}`;
    button.ariaPressed = String(number === store.face);
    const label = document.createElement("span");
    label.textContent = number + 1;
    button.append(label);
    button.onclick = () => { store.face = number; boxes(); changed("face"); $("boxes").children[number].focus(); };
    return button;
  })));
}

function layOut() {
  const both = view === "both", slide = view === "slide" && !held;
  frame.classList.toggle("both", both && !held);
  before.hidden = !(both || slide || held);
  $("handle").hidden = $("divide").hidden = !slide;
  $("boxes").hidden = both || slide || held;
  $("badge").hidden = !(held || both || slide);
  after.hidden = held;
  const share = Number($("divider").value);
  before.style.clipPath = slide ? `inset(0 ${100 - share}% 0 0)` : "";
  $("handle").style.left = `${share}%`;
  $("hold").ariaPressed = String(held);
}

export function hold(on) {
  if (held === on || !store.photo) return;
  held = on;
  layOut();
}

export function start() {
  $("views").onchange = (event) => { view = event.target.value; layOut(); };
  $("divider").oninput = layOut;
  const press = $("hold");
  press.onpointerdown = (event) => { press.setPointerCapture(event.pointerId); hold(true); };
  press.onpointerup = press.onpointercancel = press.onblur = () => hold(false);
  press.onkeydown = (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); hold(true); } };
  press.onkeyup = () => hold(false);
  press.oncontextmenu = (event) => event.preventDefault();
  // On the picture itself, where there is no slider.
  frame.onpointerdown = (event) => { if (view === "edit" && !event.target.closest("button")) hold(true); };
  window.addEventListener("pointerup", () => hold(false));
  window.addEventListener("pointercancel", () => hold(false));
  const typing = (event) => event.target.closest("input:not([type=range]):not([type=radio]):not([type=checkbox]), select, textarea");
  window.addEventListener("keydown", (event) => { if (event.key.toLowerCase() === "o" && !event.ctrlKey && !event.metaKey && !event.altKey && !typing(event)) hold(true); });
  window.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "o") hold(false); });
  const handle = $("handle");
  handle.onpointerdown = (event) => { handle.setPointerCapture(event.pointerId); event.preventDefault(); };
  handle.onpointermove = (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = frame.getBoundingClientRect();
    $("divider").value = ((event.clientX - box.left) / box.width) * 100;
    layOut();
  };
  $("overlay").onchange = () => attempt(refresh);
  $("save").onclick = () => attempt(async () => {
    const kind = $("kind").value;
    const file = await (await post("save", { kind, faces: wanted() })).blob();
    download(URL.createObjectURL(file), `edited.${kind}`);
    say("Saved. The file says that it was edited by AI.");
  });
  onChange((what) => { if (what === "look") attempt(refresh); });
}
