// <nm-ab label data-ab>: one place in the music, several recordings of it. All are decoded and run together, each through
// a gain of its own, so that switching is a crossfade of 20 ms without a gap. X plays one of two unseen and counts guesses.
// `data-ab`: tracks (id, name, title, src, duration, peaks). Keys 1, 2, 3 and X switch while the player is in sight.

import { begin, clock, dressButton, roundButton, tell } from "./sound.js";

const FADE_S = 0.02;
const LEAD_S = 0.03; // all sources begin together, this long after the click
const BLIND = ["content", "result"]; // A and B
let context = null; // one for the page, made by the first click: browsers allow none before

class ABPlayer extends HTMLElement {
  connectedCallback() {
    document.addEventListener("nm-begin", (this.onBegin = ({ detail }) => detail !== this && this.pause()));
    document.addEventListener("keydown", (this.onKey = (event) => this.pressed(event)));
    if (this.tracks) return; // the page only moved it
    this.tracks = JSON.parse(this.dataset.ab).tracks;
    const own = this.tracks.filter(({ id }) => id !== "style"); // a style may be a whole record
    Object.assign(this, { at: 0, playing: false, loops: true, right: 0, guesses: 0, secret: null, turn: 0 });
    this.duration = Math.max(...own.map(({ duration }) => duration));
    this.index = this.tracks.findIndex(({ id }) => id === "result");
    this.chosen = String(this.index);
    this.build();
    this.show();
  }

  disconnectedCallback() {
    document.removeEventListener("nm-begin", this.onBegin);
    document.removeEventListener("keydown", this.onKey);
    setTimeout(() => this.isConnected || this.pause()); // unless the page only moves it
  }

  build() {
    this.button = roundButton();
    this.button.addEventListener("click", () => this.toggle());
    this.wave = this.position();
    this.time = make("span", "nm-time");
    const top = make("div", "nm-ab-top");
    top.append(this.button, this.wave, this.time);
    const row = make("div", "nm-ab-row");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", "What is heard");
    this.buttons = this.tracks.map(({ name, title }, i) => this.choice(String(i), String(i + 1), name, title));
    if (this.pair.length === 2) this.buttons.push(this.choice("x", "X", "Blind", "before or after?"));
    row.append(...this.buttons);
    this.test = make("div", "nm-ab-test");
    this.test.hidden = true;
    this.said = make("p", "", "");
    this.said.setAttribute("role", "status");
    this.test.append(
      this.said,
      ...this.pair.map((i) => {
        const guess = make("button", "", `It is ${this.tracks[i].name.toLowerCase()}`);
        guess.type = "button";
        guess.addEventListener("click", () => this.guess(i));
        return guess;
      }),
    );
    const loop = make("label", "nm-tick", "");
    const tick = document.createElement("input");
    Object.assign(tick, { type: "checkbox", checked: this.loops });
    tick.addEventListener("change", () => (this.loops = tick.checked));
    loop.append(tick, make("span", "", "Play round and round"));
    this.replaceChildren(top, row, this.test, loop);
  }

  choice(id, key, name, title) {
    const button = make("button", "", "");
    button.type = "button";
    button.dataset.track = id;
    button.setAttribute("aria-keyshortcuts", key);
    const words = make("span", "", name);
    if (title) words.append(make("small", "", title));
    button.append(make("kbd", "", key), words);
    button.addEventListener("click", () => this.pick(id));
    return button;
  }

  position() {
    const box = make("div", "nm-wave", "");
    box.tabIndex = 0;
    const said = { role: "slider", "aria-label": `Position in ${this.getAttribute("label")}`, "aria-valuemin": "0" };
    for (const [name, value] of Object.entries(said)) box.setAttribute(name, value);
    box.setAttribute("aria-valuemax", this.duration.toFixed(1));
    const seek = (event) => {
      const frame = box.getBoundingClientRect();
      this.seek(((event.clientX - frame.left) / frame.width) * this.duration);
    };
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      seek(event);
    });
    box.addEventListener("pointermove", (event) => box.hasPointerCapture(event.pointerId) && seek(event));
    box.addEventListener("keydown", (event) => {
      const now = this.now;
      const moves = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: this.duration };
      if (event.key in moves) this.seek(moves[event.key]);
      else if (event.key === " " || event.key === "Enter") this.toggle();
      else return;
      event.preventDefault();
    });
    return box;
  }

  /** The two that a blind test tells apart. */
  get pair() {
    return BLIND.map((id) => this.tracks.findIndex((track) => track.id === id)).filter((i) => i >= 0);
  }

  /** Where in the music it is, in seconds. */
  get now() {
    if (!this.playing) return this.at;
    return Math.min(this.duration, Math.max(0, context.currentTime - this.origin));
  }

  /** Decode every recording, once. */
  load() {
    const Context = window.AudioContext || window.webkitAudioContext;
    context ??= new Context();
    context.resume();
    this.buffers ??= Promise.all(
      this.tracks.map(async ({ src }) => {
        const answer = await fetch(src);
        if (!answer.ok) throw new Error(src);
        return context.decodeAudioData(await answer.arrayBuffer());
      }),
    ).then((buffers) => (this.decoded = buffers));
    return this.buffers;
  }

  async play() {
    if (this.playing || this.waits) return;
    begin(this);
    this.waits = true;
    this.show();
    try {
      await this.load();
    } catch {
      this.buffers = null;
      this.time.textContent = "no longer kept";
      return;
    } finally {
      this.waits = false;
    }
    if (this.isConnected) this.start(this.at >= this.duration - 0.05 ? 0 : this.at);
  }

  start(at) {
    const turn = ++this.turn;
    const when = context.currentTime + LEAD_S;
    this.voices = this.decoded.map((buffer, i) => {
      const gain = context.createGain();
      gain.gain.value = i === this.index ? 1 : 0;
      gain.connect(context.destination);
      const source = context.createBufferSource();
      Object.assign(source, { buffer, loop: buffer.duration < this.duration - 0.05 }); // a short style comes round
      source.connect(gain);
      source.start(when, at % buffer.duration);
      return { source, gain };
    });
    this.origin = when - at;
    this.playing = true;
    const end = () => {
      if (this.turn !== turn || !this.playing) return;
      if (context.currentTime - this.origin < this.duration) requestAnimationFrame(end);
      else if (this.loops) this.seek(0);
      else {
        this.pause();
        this.at = 0;
        this.show();
      }
    };
    requestAnimationFrame(end);
    setTimeout(end, 1000 * (this.duration - at + LEAD_S) + 20); // where no frames are drawn
    this.follow();
  }

  stop() {
    this.turn++;
    const end = context ? context.currentTime + FADE_S : 0;
    for (const { source, gain } of this.voices ?? []) {
      fade(gain.gain, 0);
      source.stop(end + 0.005);
    }
    this.voices = null;
  }

  pause() {
    if (!this.playing) return;
    this.at = this.now;
    this.playing = false;
    this.stop();
    this.show();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  seek(seconds) {
    const at = Math.min(this.duration, Math.max(0, seconds));
    if (this.playing) {
      this.stop();
      this.start(at >= this.duration - 0.02 ? 0 : at);
    } else this.at = at;
    this.show();
  }

  /** Hear a track ("0", "1", …) or the unseen one ("x") from the same place. */
  pick(id) {
    if (id === "x" && this.secret === null) {
      this.secret = this.pair[Math.floor(Math.random() * 2)];
      this.tell("Which of the two is X?");
    }
    this.chosen = id;
    this.index = id === "x" ? this.secret : Number(id);
    this.voices?.forEach(({ gain }, i) => fade(gain.gain, i === this.index ? 1 : 0));
    this.show();
    this.play();
  }

  guess(i) {
    if (this.secret === null) return;
    const won = i === this.secret;
    const truth = this.secret;
    this.guesses += 1;
    this.right += won ? 1 : 0;
    this.secret = null;
    this.pick(String(truth)); // unveiled
    const name = this.tracks[truth].name.toLowerCase();
    this.tell(`${won ? "Right" : "No"}, it is ${name}. ${this.right} of ${this.guesses} right; X plays another.`);
  }

  tell(words) {
    this.test.hidden = false;
    this.said.textContent = words;
  }

  pressed(event) {
    const typing = event.target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !this.offsetParent) return;
    const id = event.key.toLowerCase() === "x" ? "x" : String(Number(event.key) - 1);
    if (!this.buttons.some((button) => button.dataset.track === id)) return;
    event.preventDefault();
    this.pick(id);
  }

  follow() {
    if (!this.playing || !this.isConnected || this.following) return;
    this.following = true;
    const frame = () => {
      this.following = this.playing && this.isConnected;
      this.show();
      if (this.following) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  show() {
    const { now } = this;
    dressButton(this.button, !this.playing, this.getAttribute("label"));
    this.button.classList.toggle("nm-waits", Boolean(this.waits));
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.track === this.chosen));
    for (const button of this.test.querySelectorAll("button")) button.disabled = this.secret === null;
    if (this.drawn !== this.chosen) this.draw();
    this.wave.style.setProperty("--done", `${(100 * now) / this.duration}%`);
    this.wave.setAttribute("aria-valuenow", now.toFixed(1));
    this.wave.setAttribute("aria-valuetext", `${clock(now)} of ${clock(this.duration)}`);
    this.time.textContent = this.waits ? "loading…" : `${clock(now)} / ${clock(this.duration)}`;
    tell(this, now);
  }

  /** The bars of what is heard; those of X would give it away. */
  draw() {
    this.drawn = this.chosen;
    const { peaks, duration } = this.tracks[this.index];
    const heights = Array.from({ length: 160 }, (_, i) => {
      if (this.chosen === "x") return 30;
      const share = (((i / 160) * this.duration) % duration) / duration;
      return peaks[Math.min(peaks.length - 1, Math.floor(share * peaks.length))] ?? 0;
    });
    const rects = heights.map((peak, i) => {
      const height = Math.max(2, peak * 0.96);
      return `<rect x="${i * 4}" y="${50 - height / 2}" width="2.6" height="${height}" rx="1.3"/>`;
    });
    const art = `<svg viewBox="0 0 640 100" preserveAspectRatio="none" aria-hidden="true">${rects.join("")}</svg>`;
    this.wave.innerHTML = `${art}<div class="nm-wave-done">${art}</div>`;
  }
}

function fade(gain, to) {
  const now = context.currentTime;
  gain.cancelScheduledValues(now);
  gain.setValueAtTime(gain.value, now);
  gain.linearRampToValueAtTime(to, now + FADE_S);
}

function make(name, className, words = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = words;
  return made;
}

customElements.define("nm-ab", ABPlayer);
