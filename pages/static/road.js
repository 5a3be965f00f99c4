// <nm-road label data-road>: one slider over several recordings of the same length in bars. Moving it plays that step at
// once, from the same place in the music, and fades the two into each other, so that there is no gap and no click.
// `data-road`: steps (src, duration), seconds before (lead) and after (ring) the music, titles of both ends.

import { begin, clock, dressButton, roundButton, tell } from "./sound.js";

const FADE_S = 0.12;
let context = null; // one for the page, made by the first click: browsers allow none before

class Road extends HTMLElement {
  connectedCallback() {
    document.addEventListener("nm-begin", (this.onBegin = ({ detail }) => detail !== this && this.pause()));
    this.card = this.closest(".nm-card");
    this.card?.addEventListener("nm-seek", (this.onSeek = ({ detail }) => this.seek(detail)));
    if (this.voices) return;
    const { steps, lead, ring, ends } = JSON.parse(this.dataset.road);
    Object.assign(this, { lead, ring, count: steps.length, index: 0 });
    this.voices = steps.map(({ src, duration }, index) => this.voice(src, duration, index));
    this.button = roundButton();
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.slider = document.createElement("input");
    Object.assign(this.slider, { type: "range", min: 1, max: this.count, step: 1, value: 1 });
    this.slider.setAttribute("aria-label", `Step on ${this.getAttribute("label")}`);
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value) - 1));
    this.step = document.createElement("output");
    this.time = document.createElement("span");
    this.time.className = "nm-time";
    const way = document.createElement("div");
    way.className = "nm-way";
    const names = document.createElement("div");
    names.className = "nm-ends";
    names.append(...[ends[0], this.step, ends[1]].map((what) => (typeof what === "string" ? text(what) : what)));
    way.append(this.slider, this.ticks(), names);
    this.replaceChildren(this.button, way, this.time);
    this.show();
  }

  disconnectedCallback() {
    document.removeEventListener("nm-begin", this.onBegin);
    this.card?.removeEventListener("nm-seek", this.onSeek);
    setTimeout(() => this.isConnected || this.pause()); // unless the page only moves it
  }

  voice(src, duration, index) {
    const audio = new Audio();
    audio.preload = index < 2 ? "auto" : "metadata";
    audio.src = src;
    audio.addEventListener("timeupdate", () => index === this.index && this.show());
    audio.addEventListener("ended", () => index === this.index && this.stopAt(0));
    return { audio, duration, gain: null };
  }

  ticks() {
    const row = document.createElement("div");
    row.className = "nm-ticks";
    row.setAttribute("aria-hidden", "true");
    for (let i = 1; i <= this.count; i++) row.append(text(String(i)));
    return row;
  }

  get current() {
    return this.voices[this.index];
  }

  /** The voice through a gain of its own; without WebAudio the element's volume has to do. */
  connect(voice) {
    const Context = window.AudioContext || window.webkitAudioContext;
    if (!voice.gain && Context) {
      context ??= new Context();
      voice.gain = context.createGain();
      voice.gain.gain.value = 0;
      context.createMediaElementSource(voice.audio).connect(voice.gain).connect(context.destination);
    }
    context?.resume();
  }

  fade(voice, to) {
    if (!voice.gain) {
      voice.audio.volume = to;
      return;
    }
    const now = context.currentTime;
    voice.gain.gain.cancelScheduledValues(now);
    voice.gain.gain.setValueAtTime(voice.gain.gain.value, now);
    voice.gain.gain.linearRampToValueAtTime(to, now + FADE_S);
  }

  async play() {
    const { current } = this;
    begin(this);
    this.playing = true;
    this.connect(current);
    this.fade(current, 1);
    try {
      await current.audio.play();
    } catch {
      this.playing = !current.audio.paused;
    }
    this.show();
    this.follow();
  }

  pause() {
    this.playing = false;
    for (const { audio } of this.voices) audio.pause();
    this.show();
  }

  stopAt(seconds) {
    this.pause();
    this.current.audio.currentTime = seconds;
    this.show();
  }

  /** Where in the other recording the same place of the music is. */
  same(other) {
    const music = (voice) => voice.duration - this.lead - this.ring;
    const share = (this.current.audio.currentTime - this.lead) / music(this.current);
    return Math.min(other.duration, Math.max(0, this.lead + share * music(other)));
  }

  /** Play a step: the one before sounds until this one is ready, then both fade. */
  async go(index) {
    this.wanted = index;
    this.label(index);
    const next = this.voices[index];
    const before = this.current;
    if (next === before) {
      if (!this.playing) await this.play();
      return;
    }
    next.audio.preload = "auto";
    this.connect(next);
    begin(this);
    next.audio.currentTime = this.same(next);
    try {
      await next.audio.play(); // silent so far
    } catch {
      return;
    }
    if (this.wanted !== index) {
      next.audio.pause();
      return;
    }
    const late = this.playing ? this.same(next) - next.audio.currentTime : 0;
    if (Math.abs(late) > 0.15) next.audio.currentTime = this.same(next);
    this.index = index;
    this.playing = true;
    this.fade(next, 1);
    this.fade(before, 0);
    setTimeout(() => before !== this.current && before.audio.pause(), 1000 * FADE_S + 30);
    for (const near of [this.voices[index - 1], this.voices[index + 1]]) if (near) near.audio.preload = "auto";
    this.show();
    this.follow();
  }

  seek(seconds) {
    this.current.audio.currentTime = Math.min(this.current.duration, Math.max(0, seconds));
    this.show();
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

  /** Show the parts of the card that belong to a step. */
  label(index) {
    this.dataset.step = String(index + 1);
    this.slider.value = String(index + 1);
    this.slider.setAttribute("aria-valuetext", `Step ${index + 1} of ${this.count}`);
    this.step.textContent = `Step ${index + 1} of ${this.count}`;
    for (const part of this.card?.querySelectorAll("[data-step]") ?? []) {
      if (part !== this) part.hidden = part.dataset.step !== String(index + 1);
    }
  }

  show() {
    const now = this.current.audio.currentTime;
    if (!this.dataset.step) this.label(this.index);
    dressButton(this.button, !this.playing, this.getAttribute("label"));
    this.time.textContent = `${clock(now)} / ${clock(this.current.duration)}`;
    tell(this, now);
  }
}

function text(said) {
  const made = document.createElement("span");
  made.textContent = said;
  return made;
}

customElements.define("nm-road", Road);
