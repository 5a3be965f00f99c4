// Hands on the console without a mouse: MIDI controllers, which can be learnt, and keys. A name is a knob ("mix",
// "hand-layer") or, with "!", a button of the stage.

const STEP = 1 / 40; // of a knob's range, for a key
const STORED = "neuromuse-midi";

/** The slider of a knob. */
const slider = (name) => document.querySelector(`[data-knob="${name}"], #neurons-${name} input[type=range]`);

function turn(name, change) {
  const input = slider(name);
  if (!input) return;
  const low = Number(input.min), high = Number(input.max);
  const value = Math.min(high, Math.max(low, change(Number(input.value), low, high - low)));
  input.value = String(value);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

const press = (name) => document.querySelector(`nm-stage [data-do="${name.slice(1)}"]`)?.click();
const say = (text) => document.querySelectorAll(".nm-midi-said").forEach((place) => (place.textContent = text));

export class Controls {
  constructor(stage) {
    this.stage = stage;
    this.numbers = new Map(Object.entries(JSON.parse(stage.dataset.controllers)).map(([number, name]) => [Number(number), name]));
    this.keys = new Map();
    for (const [keys, name] of Object.entries(JSON.parse(stage.dataset.keys)))
      keys.toLowerCase().split(" ").forEach((key, index) => this.keys.set(key === "space" ? " " : key, { name, sign: index ? 1 : -1 }));
    this.remember();
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("click", ({ target }) => {
      if (target.closest?.(".nm-midi-open")) this.open();
      const learn = target.closest?.(".nm-learn");
      if (learn) this.learn(learn.closest("tr").dataset.learn);
    });
  }

  remember() {
    try {
      for (const [number, name] of JSON.parse(localStorage.getItem(STORED) ?? "[]")) this.assign(number, name);
    } catch {
      // storage may be closed, or hold something else; the classic numbers stay
    }
  }

  assign(number, name) {
    for (const [old, known] of this.numbers) if (known === name) this.numbers.delete(old);
    this.numbers.set(number, name);
  }

  show() {
    for (const row of document.querySelectorAll("[data-learn]")) {
      const found = [...this.numbers].find(([, name]) => name === row.dataset.learn);
      row.querySelector(".nm-cc").textContent = found ? found[0] : "none";
    }
  }

  async open() {
    if (!navigator.requestMIDIAccess) return say("This browser has no MIDI, or the page is not on https; the keys below do the same.");
    try {
      this.access ??= await navigator.requestMIDIAccess();
    } catch {
      return say("MIDI was not allowed; the keys below do the same.");
    }
    const listen = () => {
      const names = [];
      for (const input of this.access.inputs.values()) {
        if (input.state !== "connected") continue;
        names.push(input.name ?? "a controller");
        input.onmidimessage = ({ data }) => this.message(data);
      }
      say(names.length ? `Listening to ${names.join(", ")}.` : "No controller is plugged in; knobs stay where they are.");
    };
    this.access.onstatechange = listen; // plugged and unplugged at any time
    listen();
    this.show();
  }

  learn(name) {
    this.learning = name;
    say("Turn the knob that shall do it.");
    if (!this.access) this.open().then(() => this.access && say("Turn the knob that shall do it."));
  }

  message([status, number, value]) {
    if ((status & 0xf0) !== 0xb0) return;
    if (this.learning) {
      this.assign(number, this.learning);
      this.learning = null;
      try {
        localStorage.setItem(STORED, JSON.stringify([...this.numbers]));
      } catch {
        // it holds until the page is left
      }
      say(`Controller ${number} does it now.`);
      this.show();
    }
    const name = this.numbers.get(number);
    if (!name) return;
    if (name.startsWith("!")) value > 0 && press(name);
    else turn(name, (_, low, range) => low + (range * value) / 127);
  }

  key(event) {
    const { target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || !this.stage.offsetParent) return;
    if (target.closest?.("input:not([type=range]), textarea, select, [contenteditable], [role=listbox], [role=option]")) return;
    const key = event.key.toLowerCase();
    if (key === " " && target !== document.body) return; // presses what has the focus
    const found = this.keys.get(key);
    if (!found) return;
    event.preventDefault();
    if (found.name.startsWith("!")) event.repeat || press(found.name);
    else turn(found.name, (value, _, range) => value + found.sign * STEP * range);
  }
}
