// <nm-stage>: the dark map that glows in time with the loop, the ring, the level and the buttons of the Neurons tab.
//
// The server speaks through two elements that appear on the page: <nm-loop-pass data-pass> is the next loop with what the
// map shows in its time, <nm-loop-chart data-chart> the map. The stage answers through the text field #neurons-said.

import "./neuron_map.js";
import "./loop_ring.js";
import "./neuron_targets.js";
import { LoopPlayer, readWav } from "./loop_player.js";
import { LoopRecorder } from "./loop_recorder.js";
import { Controls } from "./neuron_controls.js";

const CURVE_POINTS = 60;
const BRUSH = 0.06; // radius of a picked cluster to begin with
const waiting = { chart: null, pass: null }; // what came before the stage was there

const stage = () => document.querySelector("nm-stage");

class Stage extends HTMLElement {
  connectedCallback() {
    if (this.map) return;
    this.innerHTML = `<div class="nm-stage-map"><nm-neuron-map label="Map of the ear's neurons">
      <div class="nm-stage-row">
      <button type="button" data-do="play" class="nm-main">Play the loop</button>
      <button type="button" data-do="morph" disabled>Morph</button>
      <button type="button" data-do="start">Back to the start</button>
      <button type="button" data-do="keep">Keep this loop</button>
      <button type="button" data-do="record" aria-pressed="false">Record</button></div></nm-neuron-map>
      <div class="nm-stage-over"><div class="nm-stage-said" aria-hidden="true"><b></b><svg viewBox="0 0 100 30" preserveAspectRatio="none"><polyline points=""/></svg></div>
      <nm-loop-ring title="Drag along the ring to aim at a part of the loop"></nm-loop-ring>
      <button type="button" class="nm-first" data-do="play">▶&ensp;Play the loop</button><p class="nm-hint" hidden></p></div></div>`;
    const find = (selector) => this.querySelector(selector);
    Object.assign(this, {
      map: find("nm-neuron-map"), ring: find("nm-loop-ring"), first: find(".nm-first"), hint: find(".nm-hint"), main: find(".nm-main"),
      morph: find("[data-do=morph]"), taping: find("[data-do=record]"), figure: find(".nm-stage-said b"), line: find("polyline"),
      player: new LoopPlayer(), curve: [], aimed: [], order: 0, newest: 0, count: 0, morphing: false,
    });
    this.recorder = new LoopRecorder(this.player);
    this.controls = new Controls(this);
    this.map.clock = () => this.player.clock();
    this.map.brush = BRUSH;
    this.listen();
    const draw = () => {
      if (this.isConnected) requestAnimationFrame(draw);
      if (!this.offsetParent) return;
      this.ring.draw(this.player.heard()?.phase ?? null, this.player.level());
      if (this.morphing && document.querySelector("#neurons-status [role=alert]")) {
        this.morphing = false; // what was refused does not go on
        this.show();
      }
      if (this.recorder.node) this.taping.textContent = `Stop recording ${clock(this.recorder.seconds)}`;
    };
    requestAnimationFrame(draw);
    if (waiting.chart) this.draw(...waiting.chart);
    if (waiting.pass) this.hear(waiting.pass);
    this.show();
  }

  get targets() {
    return document.querySelector("nm-targets");
  }

  listen() {
    const does = {
      play: () => (this.player.playing ? this.player.pause() : this.player.play()),
      morph: () => this.say({ act: this.morphing ? "hold" : "morph" }, (this.morphing = !this.morphing)),
      start: () => this.say({ act: "start" }),
      keep: () => this.say({ act: "keep" }),
      record: () => this.record(),
    };
    this.addEventListener("click", ({ target }) => {
      const name = target.closest?.("[data-do]")?.dataset.do;
      if (!name) return;
      does[name]();
      this.show();
    });
    document.addEventListener("click", ({ target }) => {
      const token = target.closest?.("[data-return]")?.dataset.return;
      if (!token) return;
      this.player.play();
      this.say({ act: "return", token });
    });
    this.addEventListener("pick", ({ detail }) => {
      this.targets?.pick(detail);
      if (!this.player.playing) this.player.play();
    });
    this.addEventListener("part", ({ detail }) => this.targets?.setTime(detail));
    document.addEventListener("nm-aim", ({ detail }) => {
      this.aimed = detail.targets;
      this.morphing = this.aimed.length > 0;
      this.say({ act: "aim", targets: this.aimed });
      this.show();
    });
    this.player.addEventListener("state", () => this.show());
    this.player.addEventListener("next", ({ detail }) => this.light(detail));
  }

  /** Tell the server; its field hears a change only, so that no two messages are alike. */
  say(message) {
    const field = document.querySelector("#neurons-said textarea, #neurons-said input");
    if (!field) return;
    this.count += 1;
    field.value = JSON.stringify({ ...message, count: this.count });
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** The map of the ear that listens. */
  draw(chart, label) {
    this.map.chart = chart;
    this.map.setAttribute("label", `Map of the neurons: ${label}`);
    this.targets?.fit(this.map.layers, chart.network, this.map);
    if (!this.targets?.groups.length) Object.assign(this, { aimed: [], morphing: false }); // another ear, other regions
    const voice = this.player.voices.at(-1);
    if (voice) this.light(voice);
  }

  /** The next loop: fetched, then played from the next boundary on. What does not arrive changes nothing. */
  async hear(told) {
    const order = (this.order += 1), listens = !told.morph && !told.fresh && !told.chosen;
    if (!listens) this.newest = order;
    const before = this.arriving;
    const fetched = Promise.all([get(told.src), told.frames ? get(told.frames) : null]);
    this.arriving = fetched.catch(() => {});
    try {
      const [sound, activity] = await fetched;
      await before; // a loop is here before what the ear made of it
      if (order < this.newest) return;
      const info = { ...told, activity: activity && new Uint8Array(activity) };
      this.note(told);
      if (listens && this.player.clip) this.listened(info);
      else this.player.take({ ...readWav(sound), info });
      if (told.chosen) this.targets?.bring(told.chosen);
    } catch (error) {
      console.info(`The next loop did not arrive (${error.message}); this one plays on.`);
    }
    this.show();
  }

  /** What the ear makes of the loop that plays already. */
  listened(info) {
    Object.assign(this.player.clip.info, { activity: info.activity, count: info.count });
    const voice = this.player.voices.find(({ clip }) => clip === this.player.clip);
    if (voice) this.light(voice);
  }

  light({ clip, start, duration }) {
    const { activity, count } = clip.info;
    if (activity) this.map.play({ activity, frames: count, start, duration });
  }

  note(told) {
    if (told.fresh) this.curve = [];
    if (told.morph) this.curve = [...this.curve, told.activation].slice(-CURVE_POINTS);
    if (told.beats) this.ring.count(told.beats);
    if (told.morph) this.morphing = this.morphing || told.number > 1;
    const { curve } = this;
    this.figure.textContent = curve.length && told.number ? `pass ${told.number} · ${told.activation >= 0 ? "+" : "−"}${Math.abs(told.activation).toFixed(1)}` : "";
    const low = Math.min(0, ...curve), high = Math.max(low + 1, ...curve);
    this.line.setAttribute("points", curve.map((value, i) => `${((100 * i) / Math.max(1, curve.length - 1)).toFixed(1)},${(28 - (26 * (value - low)) / (high - low)).toFixed(1)}`).join(" "));
  }

  async record() {
    const { recorder, player } = this;
    if (recorder.node) {
      const { file, seconds } = await recorder.stop();
      document.querySelector("nm-recordings")?.add(file, seconds);
    } else {
      if (!player.playing) await player.play();
      await recorder.start(() => this.record());
    }
    this.show();
  }

  show() {
    const { player, morphing } = this, taping = Boolean(this.recorder.node), aimed = this.aimed.length > 0;
    this.first.hidden = Boolean(player.context);
    this.main.textContent = player.playing ? "Pause" : "Play the loop";
    this.morph.disabled = !aimed && !this.targets?.groups?.length;
    this.morph.textContent = morphing ? "Hold this loop" : "Morph on";
    this.taping.setAttribute("aria-pressed", String(taping));
    if (!taping) this.taping.textContent = "Record";
    this.hint.hidden = !player.playing || aimed || !this.map.count;
    this.hint.textContent = "Now click anywhere on the map";
  }
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.arrayBuffer();
}

class LoopPass extends HTMLElement {
  connectedCallback() {
    waiting.pass = JSON.parse(this.dataset.pass);
    stage()?.hear?.(waiting.pass);
  }
}

class LoopChart extends HTMLElement {
  connectedCallback() {
    waiting.chart = [JSON.parse(this.dataset.chart), this.dataset.label];
    stage()?.draw?.(...waiting.chart);
  }
}

// What was recorded on this page; it lives as long as the page.
class Recordings extends HTMLElement {
  add(file, seconds) {
    this.number = (this.number ?? 0) + 1;
    const address = URL.createObjectURL(file), item = document.createElement("p");
    item.className = "nm-fact nm-recording";
    const link = document.createElement("a"), sound = document.createElement("audio");
    Object.assign(link, { href: address, download: `neuromuse-session-${this.number}.wav`, textContent: `Download recording ${this.number}, ${clock(seconds)} (WAV)` });
    Object.assign(sound, { src: address, controls: true });
    sound.setAttribute("aria-label", `Recording ${this.number}`);
    sound.addEventListener("play", () => stage()?.player.pause());
    item.append(link, sound);
    this.prepend(item);
  }
}

customElements.define("nm-recordings", Recordings);
customElements.define("nm-stage", Stage);
customElements.define("nm-loop-pass", LoopPass);
customElements.define("nm-loop-chart", LoopChart);
