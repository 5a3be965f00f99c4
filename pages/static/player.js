// <nm-player src label duration peaks stays>: play and pause, a waveform to seek on, keys, one player sounding at a time.
// Its card hears `nm-time` while it plays and may ask it with `nm-seek`. `stays` names what it plays across redrawings:
// a player of the same name takes over where a vanished one was, so that a growing preview does not start again.

import { begin, clock, dressButton, roundButton, tell } from "./sound.js";

const HEIR_MS = 2000;
const WAIT_MS = 10_000;
const orphans = new Map(); // name → audio that plays on until its heir has its first sound

class Player extends HTMLElement {
  connectedCallback() {
    document.addEventListener("nm-begin", (this.onBegin = ({ detail }) => detail !== this && this.quiet()));
    this.card = this.closest(".nm-card");
    this.card?.addEventListener("nm-seek", (this.onSeek = ({ detail }) => this.seek(detail)));
    if (this.audio) {
      if (orphans.get(this.getAttribute("stays")) === this.audio) orphans.delete(this.getAttribute("stays"));
      return; // the page only moved it
    }
    this.duration = Number(this.getAttribute("duration")) || 0;
    const peaks = (this.getAttribute("peaks") ?? "").split(" ").map(Number);
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.audio.src = this.getAttribute("src");
    this.button = roundButton();
    this.bars = this.drawBars(peaks);
    this.time = document.createElement("span");
    this.time.className = "nm-time";
    this.replaceChildren(this.button, this.bars, this.time); // the audio outside: taken off a page it would fall silent
    this.button.addEventListener("click", () => this.toggle());
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.show());
    this.audio.addEventListener("ended", () => (this.endedAt = performance.now()));
    this.audio.addEventListener("timeupdate", () => this.show());
    this.audio.addEventListener("play", () => {
      begin(this);
      this.follow();
    });
    this.inherit();
    this.show();
  }

  disconnectedCallback() {
    document.removeEventListener("nm-begin", this.onBegin);
    this.card?.removeEventListener("nm-seek", this.onSeek);
    const name = this.getAttribute("stays");
    const audio = this.earlier ?? this.audio;
    const waits = audio.ended && performance.now() - this.endedAt < WAIT_MS; // for what is still being made
    if (!name || (audio.paused && !waits)) {
      setTimeout(() => this.isConnected || audio.pause()); // unless the page only moves it
      return;
    }
    orphans.set(name, audio);
    setTimeout(() => {
      if (orphans.get(name) !== audio) return;
      orphans.delete(name);
      audio.pause();
    }, HEIR_MS);
  }

  inherit() {
    const name = this.getAttribute("stays");
    if (!orphans.has(name)) return;
    this.earlier = orphans.get(name); // sounds until this one can
    orphans.delete(name);
    this.audio.preload = "auto";
    this.audio.addEventListener("loadedmetadata", () => this.earlier && (this.audio.currentTime = this.earlier.currentTime));
    this.audio.addEventListener("canplay", () => this.take());
  }

  async take() {
    const { earlier } = this;
    if (!earlier || this.taking) return;
    this.taking = true;
    if (Math.abs(this.audio.currentTime - earlier.currentTime) > 0.05) this.audio.currentTime = earlier.currentTime;
    this.earlier = null;
    await this.audio.play().catch(() => {});
    earlier.pause();
    this.show();
  }

  drawBars(peaks) {
    const box = document.createElement("div");
    box.className = "nm-wave";
    box.tabIndex = 0;
    box.setAttribute("role", "slider");
    box.setAttribute("aria-label", `Position in ${this.getAttribute("label")}`);
    box.setAttribute("aria-valuemin", "0");
    box.setAttribute("aria-valuemax", String(Math.round(this.duration)));
    const rects = peaks.map((p, i) => {
      const height = Math.max(2, p * 0.96);
      return `<rect x="${i * 4}" y="${50 - height / 2}" width="2.6" height="${height}" rx="1.3"/>`;
    });
    const art = `<svg viewBox="0 0 ${peaks.length * 4} 100" preserveAspectRatio="none" aria-hidden="true">${rects.join("")}</svg>`;
    box.innerHTML = `${art}<div class="nm-wave-done">${art}</div>`;
    const seek = (event) => {
      const frame = box.getBoundingClientRect();
      this.seek(((event.clientX - frame.left) / frame.width) * this.duration);
    };
    box.addEventListener("pointerdown", (event) => {
      box.setPointerCapture(event.pointerId);
      seek(event);
    });
    box.addEventListener("pointermove", (event) => box.hasPointerCapture(event.pointerId) && seek(event));
    box.addEventListener("keydown", (event) => this.key(event));
    return box;
  }

  key(event) {
    const now = this.audio.currentTime;
    const moves = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, Home: 0, End: this.duration };
    if (event.key in moves) this.seek(moves[event.key]);
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else return;
    event.preventDefault();
  }

  seek(seconds) {
    this.audio.currentTime = Math.min(this.duration, Math.max(0, seconds));
    this.show();
  }

  toggle() {
    if (this.earlier) this.quiet();
    else if (this.audio.paused) this.audio.play().catch(() => this.show());
    else this.audio.pause();
  }

  /** Silence, also of the audio that is still heard in this player's place. */
  quiet() {
    this.earlier?.pause();
    this.earlier = null;
    this.audio.pause();
    this.show();
  }

  follow() {
    if (this.audio.paused || !this.isConnected) return;
    this.show();
    requestAnimationFrame(() => this.follow());
  }

  show() {
    const now = this.audio.currentTime;
    dressButton(this.button, this.audio.paused && !this.earlier, this.getAttribute("label"));
    this.bars.style.setProperty("--done", `${this.duration ? (100 * now) / this.duration : 0}%`);
    this.bars.setAttribute("aria-valuenow", now.toFixed(1));
    this.bars.setAttribute("aria-valuetext", `${clock(now)} of ${clock(this.duration)}`);
    this.time.textContent = `${clock(now)} / ${clock(this.duration)}`;
    tell(this, now);
  }
}

customElements.define("nm-player", Player);
