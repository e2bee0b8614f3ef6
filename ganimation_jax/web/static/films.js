// Films: the timeline of a photo, an edited video, a photo driven by a video.

import { Problem, download, fileUrl, job } from "./api.js";
import { currentLook } from "./controls.js";
import { changed, commit, isEdited, store, wanted } from "./store.js";
import { attempt, complain } from "./say.js";

const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const steps = []; // {looks, seconds, canvas}

// Run a job in a box of the page: progress and a button to stop it, then the film.
async function run(box, name, body, query, words) {
  const stop = new AbortController();
  const text = document.createElement("p"), bar = document.createElement("progress"), button = document.createElement("button");
  text.textContent = words;
  text.setAttribute("role", "status");
  bar.ariaLabel = words;
  button.type = "button";
  button.textContent = "Cancel";
  button.onclick = () => stop.abort();
  const source = box.querySelector("video");
  if (source) URL.revokeObjectURL(source.src);
  box.replaceChildren(text, bar, button);
  try {
    return await job(name, body, query, stop.signal, ({ done, total }) => {
      if (!done) return;
      text.textContent = total ? `${words} Frame ${done} of ${total}.` : `${words} Frame ${done}.`;
      if (total) Object.assign(bar, { max: total, value: done });
    });
  } catch (error) {
    box.replaceChildren();
    throw error;
  }
}

function present(box, { file, name }) {
  const url = fileUrl(file), moves = name.endsWith(".mp4");
  const film = document.createElement(moves ? "video" : "img");
  if (moves) Object.assign(film, { controls: true, loop: true, muted: true, autoplay: !still.matches, playsInline: true, ariaLabel: "The film" });
  else film.alt = "The film";
  film.src = url;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Save ${name.split(".").pop().toUpperCase()}`;
  button.onclick = () => download(url, name);
  box.replaceChildren(film, button);
}

function thumbnail() {
  const canvas = document.createElement("canvas"), image = $("after");
  const [left, top, right, bottom] = store.photo.faces[store.face].box;
  const side = Math.max((right - left) * image.naturalWidth, (bottom - top) * image.naturalHeight) * 1.2;
  const x = ((left + right) / 2) * image.naturalWidth - side / 2, y = ((top + bottom) / 2) * image.naturalHeight - side / 2;
  canvas.width = canvas.height = 96;
  canvas.getContext("2d").drawImage(image, x, y, side, side, 0, 0, 96, 96);
  canvas.role = "img";
  return canvas;
}

function drawSteps() {
  $("steps").replaceChildren(...steps.map((step, place) => {
    const item = document.createElement("li");
    const seconds = document.createElement("input");
    Object.assign(seconds, { type: "number", min: 0.2, max: store.page.limits.seconds, step: 0.1, value: step.seconds, ariaLabel: `Seconds of expression ${place + 1}` });
    seconds.onchange = () => {
      const value = Number(seconds.value);
      step.seconds = value >= 0.2 && value <= store.page.limits.seconds ? value : step.seconds;
      seconds.value = step.seconds;
    };
    const time = document.createElement("label");
    time.append(seconds, " s");
    const button = (text, label, action) => Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: text, ariaLabel: label, onclick: action });
    step.canvas.ariaLabel = `Expression ${place + 1}`;
    item.append(step.canvas, time, button("Show", `Show expression ${place + 1}`, () => { store.looks = structuredClone(step.looks); changed(); commit(); }), button("Remove", `Remove expression ${place + 1}`, () => { steps.splice(place, 1); drawSteps(); }));
    return item;
  }));
  $("add-step").disabled = steps.length >= store.page.limits.steps;
}

export function forget() { steps.length = 0; drawSteps(); $("film-job").replaceChildren(); }

function film(kind, side) {
  return attempt(async () => {
    // Without a timeline, a film of the expression that is shown.
    const shown = steps.length ? steps : [{ looks: store.looks, seconds: 1.2 }];
    const body = { kind, side, steps: shown.map((step) => ({ faces: wanted(step.looks), seconds: step.seconds })) };
    present($("film-job"), await run($("film-job"), "film", body, {}, "Making the film."));
  });
}

function fromVideo(name, input, label, start, kind, box, query) {
  let file = null;
  const choose = (given) => {
    const { video } = store.page.limits;
    if (given.size > video) { complain(`The video is larger than ${Math.round(video / 2 ** 20)} MB.`); return; }
    file = given;
    label.textContent = given.name;
    start.disabled = false;
    box.replaceChildren();
    if (given.type.startsWith("video/")) {
      const film = Object.assign(document.createElement("video"), { controls: true, muted: true, playsInline: true, ariaLabel: "The video that you chose", src: URL.createObjectURL(given) });
      box.append(film);
    }
  };
  input.onchange = () => { const [given] = input.files; input.value = ""; if (given) choose(given); };
  start.onclick = () => attempt(async () => {
    start.disabled = true;
    try {
      const asked = JSON.stringify({ kind: kind.value, ...query() });
      present(box, await run(box, name, file, { name: file.name, asked }, "Working on the video."));
    } finally { start.disabled = false; }
  });
  return choose;
}

export const openVideo = {};
export function start() {
  for (const side of store.page.limits.sides) $("film-side").append(new Option(`${side} pixels`, side, side === 480, side === 480));
  $("add-step").onclick = () => {
    if (steps.length >= store.page.limits.steps) return;
    steps.push({ looks: structuredClone(store.looks), seconds: 1, canvas: thumbnail() });
    drawSteps();
  };
  $("make-film").onclick = () => film($("film-kind").value, Number($("film-side").value));
  openVideo.edit = fromVideo("video", $("video"), $("video-name"), $("video-start"), $("video-kind"), $("video-job"), () => {
    if (!isEdited() || !currentLook()) throw new Problem("Choose an expression first.");
    return { look: currentLook(), side: $("video-kind").value === "mp4" ? null : 480 };
  });
  openVideo.drive = fromVideo("drive", $("driver"), $("driver-name"), $("drive-start"), $("drive-kind"), $("drive-job"), () => ({ side: 640 }));
  drawSteps();
}
