// What the page knows: the photo, its faces, the recipe of each, and the steps back and forward.

export const store = {
  page: null, // what the server said about its models
  file: null, // the photo, to be sent again; null is the sample
  photo: null, // what the server said about the photo
  face: 0, // which face is edited
  half: "both",
  looks: [], // of each face {left, right}: {name, target, strength, moved}
};

const listeners = new Set();
export function onChange(listener) { listeners.add(listener); }
export function changed(what = "look") { for (const listener of listeners) listener(what); }

const nothing = () => ({ name: "", target: {}, strength: 1, moved: {} });
export const asked = (recipe) => Object.values(recipe.moved).some((x) => x) || (recipe.strength > 0 && Object.keys(recipe.target).length > 0);
export const isEdited = () => store.looks.some((look) => asked(look.left) || asked(look.right));

const past = [], future = [];
let present = "";

// Begin with a photo: its faces keep their expressions.
export function begin(photo) {
  store.photo = photo;
  store.face = 0;
  store.looks = photo.faces.map(() => ({ left: nothing(), right: nothing() }));
  past.length = future.length = 0;
  present = JSON.stringify(store.looks);
}

// The latest change is complete: it can be undone.
export function commit() {
  const now = JSON.stringify(store.looks);
  if (now === present) return;
  past.push(present);
  if (past.length > 100) past.shift();
  present = now;
  future.length = 0;
  changed("history");
}

function step(from, to) {
  if (!from.length) return;
  to.push(present);
  present = from.pop();
  store.looks = JSON.parse(present);
  changed();
  changed("history");
}
export const undo = () => step(past, future);
export const redo = () => step(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

export const look = () => store.looks[store.face];
export const sides = () => (store.half === "both" ? ["left", "right"] : [store.half]);
// The recipe that the controls show: of the chosen half, or of the left one.
export const recipe = () => look()[store.half === "right" ? "right" : "left"];

export function reset() {
  for (const side of sides()) look()[side] = nothing();
  changed();
  commit();
}

// Aim at an expression. Single changes of muscles begin anew.
export function aim(name, left, right = left) {
  for (const side of sides()) {
    const { strength } = look()[side];
    look()[side] = { name, target: { ...(side === "left" ? left : right) }, strength: strength || 1, moved: {} };
  }
  changed();
  commit();
}

export function setStrength(value) {
  for (const side of sides()) look()[side].strength = value;
  changed();
}

// What an action unit would be without the changes made to it alone.
function base(recipe, unit) {
  const own = store.photo.faces[store.face].own[unit] ?? 0;
  return own + recipe.strength * ((recipe.target[unit] ?? own) - own);
}
export const value = (recipe, unit) => Math.min(1, Math.max(0, base(recipe, unit) + (recipe.moved[unit] ?? 0)));

export function setUnit(unit, wanted) {
  for (const side of sides()) {
    const one = look()[side];
    const by = wanted - base(one, unit);
    if (Math.abs(by) < 0.005) delete one.moved[unit];
    else one.moved[unit] = Math.max(-1, Math.min(1, by));
  }
  changed();
}

// What the server is asked for: nothing of a face that keeps its expression.
export const plain = (one) => ({ target: one.target, strength: one.strength, moved: one.moved });
export const wanted = (looks = store.looks) =>
  looks.map((one) => (asked(one.left) || asked(one.right) ? { left: plain(one.left), right: plain(one.right) } : null));
