// <nm-neuron-map>: every neuron of an ear as a point of light, lit in time with the loop that plays.
//
//   map.chart = NeuronMap.page()             where the neurons lie, or attribute src="address of that as JSON"
//   map.clock = () => context.currentTime    seconds that starts are given in
//   map.play({ activity, frames, start, duration })
//       activity: Uint8Array [neurons × frames]; lit from `start`, again and again, until the next one's start
//   map.choose([{ layer, channel, pitch }])  what is shown as chosen; channel and pitch ([from, to]) may be null
//   "pick" event, detail { neuron, members, targets }: by click, tap, Enter or a layer's button; targets as chosen above
//
// Drawn by WebGL; on a canvas of pixels where a graphics processor is missing. Attribute painter="webgl" or "canvas" insists.

import { CanvasPainter, WebglPainter, colours } from "./neuron_painters.js";

const MOVED_PX = 5; // a pointer that moved further drags and does not pick
const MAX_TARGETS = 64;

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

const STYLE = `
:host { display: block; color: var(--ivory, #f1ebdf); font-size: .86rem; }
.stage { position: relative; height: var(--map-height, min(70vh, 640px)); border-radius: 14px; overflow: hidden; background: #11131a; touch-action: manipulation; cursor: crosshair; }
.stage:focus-visible, button:focus-visible, input:focus-visible { outline: 2px solid var(--brass-light, #f0c987); outline-offset: 2px; }
canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.ring { position: absolute; border: 1.5px solid #fff; border-radius: 50%; transform: translate(-50%, -50%); pointer-events: none; box-shadow: 0 0 0 1.5px #000a; }
.foot { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; min-height: 1.6rem; margin: .4rem 0; }
.word { margin: 0; flex: 1 1 14rem; } .hover { color: var(--mist, #aeb2c0); margin: 0; flex: 1 1 12rem; }
label { display: inline-flex; gap: .5rem; align-items: center; }
ul { display: flex; flex-wrap: wrap; gap: .3rem; list-style: none; margin: 0; padding: 0; }
button { font: inherit; color: inherit; background: none; border: 1px solid var(--line, #363c4e); border-radius: 999px; padding: .2rem .65rem; min-height: 1.7rem; cursor: pointer; }
button:hover { border-color: var(--brass, #e3b565); }
input { accent-color: var(--brass, #e3b565); }
@media (max-width: 640px) { ul { flex-wrap: nowrap; overflow-x: auto; padding-bottom: .4rem; scrollbar-width: thin; } button { white-space: nowrap; } }
button i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; }`;
const KEYS =
  "Arrow keys go to the next neuron, Page Up and Page Down to another layer, Home and End to its first and last; " +
  "plus and minus change the size of the cluster, Enter picks it, 0 shows the whole map.";

export class NeuronMap extends HTMLElement {
  static observedAttributes = ["src", "label"];

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).innerHTML = `<style>${STYLE}</style>
      <div class="stage" part="stage" tabindex="0" role="application" aria-roledescription="neuron map" aria-describedby="keys">
      <canvas aria-hidden="true"></canvas><div class="ring" hidden></div></div><slot></slot><span id="keys" hidden>${KEYS}</span>
      <div class="foot"><p class="word" role="status"></p><p class="hover" aria-hidden="true"></p>
      <label>Cluster <input type="range" min="0" max="0.3" step="0.01" value="0"></label></div><ul aria-label="Layers"></ul>`;
    const find = (selector) => this.shadowRoot.querySelector(selector);
    Object.assign(this, {
      stage: find(".stage"), ring: find(".ring"), word: find(".word"), hover: find(".hover"), slider: find("input"),
      legend: find("ul"), clock: () => performance.now() / 1000, clips: [], cursor: -1, drawn: 0, times: [], layers: [],
      camera: { zoom: 1, x: 0, y: 0 }, stale: true, count: 0,
    });
    this.listen();
  }

  connectedCallback() {
    this.attributeChangedCallback("label");
    this.observer = new ResizeObserver(() => (this.stale = true));
    this.observer.observe(this.stage);
    this.running = true;
    const loop = () => {
      if (!this.running) return;
      requestAnimationFrame(loop);
      this.draw();
    };
    requestAnimationFrame(loop);
  }

  disconnectedCallback() {
    this.running = false;
    this.observer.disconnect();
  }

  attributeChangedCallback(name) {
    if (name === "label") this.stage.setAttribute("aria-label", this.getAttribute("label") || "Map of neurons");
    else if (this.getAttribute("src"))
      fetch(this.getAttribute("src"))
        .then((answer) => answer.json())
        .then((chart) => (this.chart = chart))
        .catch(() => (this.word.textContent = "The map could not be fetched."));
  }

  get fps() {
    const [first, last] = [this.times[0], this.times.at(-1)];
    return this.times.length > 1 ? (1000 * (this.times.length - 1)) / (last - first) : 0;
  }

  get brush() {
    return Number(this.slider.value);
  }

  set brush(radius) {
    this.slider.value = radius;
    this.show();
  }

  get chart() {
    return this.given;
  }

  set chart(chart) {
    this.given = chart;
    this.layers = [];
    let first = 0;
    for (const { name, channels, pitch } of chart.layers) {
      this.layers.push({ name, channels, pitch, first });
      first += channels * pitch;
    }
    this.count = first;
    this.places = Float32Array.from(new Int16Array(bytes(chart.positions).buffer), (step) => step / 32767);
    const tints = new Uint8Array(3 * first);
    const palette = colours(this.layers.length).map((rgb) => rgb.map((part) => Math.round(255 * part)));
    this.layers.forEach(({ first, channels, pitch }, number) => {
      for (let i = first; i < first + channels * pitch; i++) tints.set(palette[number], 3 * i);
    });
    this.clips = [];
    this.cursor = -1;
    this.marks = new Uint8Array(this.count);
    this.ready = { places: this.places, tints, sizes: bytes(chart.sizes), count: this.count };
    this.painter ??= this.openPainter();
    this.painter.load(this.ready);
    this.legend.replaceChildren(...this.layers.map((layer, number) => this.key(layer, palette[number])));
    this.show();
  }

  openPainter() {
    const wanted = this.getAttribute("painter");
    let canvas = this.shadowRoot.querySelector("canvas");
    let painter = wanted === "canvas" ? null : WebglPainter.open(canvas, wanted === "webgl");
    if (painter)
      canvas.addEventListener("webglcontextlost", () => {
        this.setAttribute("painter", "canvas");
        this.painter = this.openPainter();
        this.reload();
      });
    else {
      const fresh = canvas.cloneNode(); // a canvas that was asked for WebGL may give no other context
      canvas.replaceWith(fresh);
      canvas = fresh;
      painter = CanvasPainter.open(canvas);
    }
    this.canvas = canvas;
    return painter;
  }

  reload() {
    this.painter.load(this.ready);
    this.painter.mark(this.marks);
    if (this.lit) this.painter.shine(this.lit.rows);
    this.stale = true;
  }

  key({ name, channels, pitch }, rgb) {
    const item = document.createElement("li"), button = document.createElement("button"), swatch = document.createElement("i");
    button.type = "button";
    swatch.style.background = `rgb(${rgb})`;
    button.append(swatch, name);
    button.title = `${channels} channels × ${pitch} pitches`;
    button.addEventListener("click", () => {
      const targets = [{ layer: name, channel: null, pitch: null }];
      this.choose(targets);
      this.word.textContent = `All of ${name}`;
      this.dispatchEvent(new CustomEvent("pick", { bubbles: true, detail: { neuron: null, members: null, targets } }));
    });
    item.append(button);
    return item;
  }

  // Neuron → { layer, channel, pitch }.
  place(neuron) {
    const layer = this.layers.findLast(({ first }) => first <= neuron);
    const within = neuron - layer.first;
    return { layer, channel: Math.floor(within / layer.pitch), pitch: within % layer.pitch };
  }

  describe(neuron) {
    const { layer, channel, pitch } = this.place(neuron);
    const row = layer.pitch > 1 ? ` · pitch ${pitch + 1} of ${layer.pitch}` : "";
    return `${layer.name} · channel ${channel + 1} of ${layer.channels}${row}`;
  }

  // Light from clip.start on; what was for another network's map is ignored and answered with false.
  play({ activity, frames, start = this.clock(), duration }) {
    if (!(frames > 0 && duration > 0) || activity.length !== this.count * frames || !this.count) return false;
    const rows = new Uint8Array(activity.length), count = this.count;
    for (let first = 0; first < count; first += 64)
      for (let frame = 0; frame < frames; frame++)
        for (let i = first; i < Math.min(count, first + 64); i++) rows[frame * count + i] = activity[i * frames + frame];
    this.clips = [...this.clips.filter((clip) => clip.start < start), { rows, frames, start, duration }];
    return true;
  }

  choose(targets) {
    this.marks = new Uint8Array(this.count);
    for (const { layer: name, channel = null, pitch = null } of targets) {
      const layer = this.layers.find((known) => known.name === name);
      if (!layer) continue;
      const [low, high] = pitch ?? [0, layer.pitch];
      for (let c = channel ?? 0; c < (channel === null ? layer.channels : channel + 1); c++)
        this.marks.fill(255, layer.first + c * layer.pitch + low, layer.first + c * layer.pitch + high);
    }
    this.painter?.mark(this.marks);
    this.stale = true;
  }

  // Which frames are lit now: { before, after, blend }, or null in the dark.
  moment() {
    const now = this.clock();
    while (this.clips.length > 1 && this.clips[1].start <= now) this.clips.shift();
    const clip = this.clips[0];
    if (!clip || clip.start > now) return null;
    if (this.lit !== clip) {
      this.lit = clip;
      this.painter.shine(clip.rows);
    }
    const phase = (((now - clip.start) / clip.duration) % 1) * clip.frames;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const hold = calm ? Math.max(1, Math.ceil(clip.frames / clip.duration / 2)) : 1; // two changes a second
    const before = Math.min(clip.frames - 1, hold * Math.floor(phase / hold));
    return { before, after: (before + 1) % clip.frames, blend: calm ? 0 : phase - Math.floor(phase) };
  }

  // Clip space = place * view.xy + view.zw.
  view() {
    const { width, height } = this.canvas, { zoom, x, y } = this.camera;
    const scale = 0.95 * zoom * Math.min(width, height);
    return [scale / width, scale / height, (-x * scale) / width, (-y * scale) / height];
  }

  draw() {
    if (!this.painter || !this.stage.clientWidth) return;
    const moment = this.moment();
    const { frame } = this;
    const still = !moment || (frame && moment.before === frame.before && moment.blend === frame.blend && this.lit === this.drawnClip);
    if (still && !this.stale) return; // nothing moves
    const { canvas, painter } = this, sharp = painter.sharpness;
    const width = Math.round(this.stage.clientWidth * sharp), height = Math.round(this.stage.clientHeight * sharp);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const spacing = 0.5 * Math.min(width, height) * Math.sqrt(1.3 / Math.max(this.count, 1)) * Math.sqrt(this.camera.zoom);
    painter.draw({ before: 0, after: 0, blend: 0, ...moment, view: this.view(), dot: clamp(1.6 * spacing, 1.5, 14) });
    this.stale = false;
    this.drawn += 1;
    this.frame = moment;
    this.drawnClip = this.lit;
    this.times.push(performance.now());
    if (this.times.length > 120) this.times.shift();
    this.moveRing();
  }

  // CSS pixels on the stage ↔ places on the map.
  toMap(event) {
    const box = this.stage.getBoundingClientRect(), [sx, sy, ox, oy] = this.view();
    const u = (2 * (event.clientX - box.left)) / box.width - 1, v = 1 - (2 * (event.clientY - box.top)) / box.height;
    return [(u - ox) / sx, (v - oy) / sy];
  }

  toStage(neuron) {
    const [sx, sy, ox, oy] = this.view(), { clientWidth, clientHeight } = this.stage;
    const u = this.places[2 * neuron] * sx + ox, v = this.places[2 * neuron + 1] * sy + oy;
    return [((u + 1) / 2) * clientWidth, ((1 - v) / 2) * clientHeight];
  }

  nearest([x, y], cost = (dx, dy) => dx * dx + dy * dy) {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.count; i++) {
      const value = cost(this.places[2 * i] - x, this.places[2 * i + 1] - y);
      if (value < least) [best, least] = [i, value];
    }
    return best;
  }

  // The neurons within the brush about one, and regions that cover them for the optimiser.
  cluster(neuron) {
    const members = [], x = this.places[2 * neuron], y = this.places[2 * neuron + 1];
    for (let i = 0; i < this.count; i++)
      if (i === neuron || Math.hypot(this.places[2 * i] - x, this.places[2 * i + 1] - y) <= this.brush) members.push(i);
    const regions = new Map();
    for (const member of members) {
      const { layer, channel, pitch } = this.place(member);
      const found = regions.get(layer) ?? { low: pitch, high: pitch, size: 0, channels: new Set() };
      regions.set(layer, found);
      Object.assign(found, { low: Math.min(found.low, pitch), high: Math.max(found.high, pitch), size: found.size + 1 });
      found.channels.add(channel);
    }
    const targets = [...regions].flatMap(([layer, { low, high, size, channels }]) => {
      const few = channels.size <= 4 ? [...channels] : [null];
      const weight = Math.max(0.001, Number((size / members.length / few.length).toFixed(3)));
      return few.map((channel) => ({ layer: layer.name, channel, pitch: [low, high + 1], weight }));
    });
    return { neuron, members, targets: targets.sort((a, b) => b.weight - a.weight).slice(0, MAX_TARGETS) };
  }

  pick(neuron) {
    if (neuron < 0) return;
    this.cursor = neuron;
    const detail = this.cluster(neuron);
    this.marks = new Uint8Array(this.count);
    for (const member of detail.members) this.marks[member] = 255;
    this.painter.mark(this.marks);
    this.show("Picked ");
    this.dispatchEvent(new CustomEvent("pick", { bubbles: true, detail }));
  }

  show(before = "") {
    const size = this.cursor < 0 || !this.brush ? 1 : this.cluster(this.cursor).members.length;
    const more = size > 1 ? ` and ${size - 1} around it` : "";
    this.word.textContent = this.cursor < 0 ? `${this.count.toLocaleString("en")} neurons` : before + this.describe(this.cursor) + more;
    this.stale = true;
  }

  moveRing() {
    this.ring.hidden = this.cursor < 0;
    if (this.cursor < 0) return;
    const [x, y] = this.toStage(this.cursor), { clientWidth, clientHeight } = this.stage;
    const across = Math.max(14, this.brush * this.view()[0] * clientWidth);
    Object.assign(this.ring.style, { left: `${x}px`, top: `${y}px`, width: `${across}px`, height: `${across}px` });
    if (x >= 0 && y >= 0 && x <= clientWidth && y <= clientHeight) return;
    if (document.activeElement === this && !this.held) this.look({ x: this.places[2 * this.cursor], y: this.places[2 * this.cursor + 1] });
  }

  look(change) {
    Object.assign(this.camera, change);
    this.camera.zoom = clamp(this.camera.zoom, 1, 24);
    const reach = 1.05 * (1 - 1 / this.camera.zoom);
    for (const axis of ["x", "y"]) this.camera[axis] = clamp(this.camera[axis], -reach, reach);
    this.stale = true;
  }

  listen() {
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => {
      if (event.button || !this.count) return;
      this.held = { x: event.clientX, y: event.clientY, camera: { ...this.camera }, moved: false };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.count) return;
      const { held } = this;
      if (!held) return void (this.hover.textContent = this.describe(this.nearest(this.toMap(event))));
      const dx = event.clientX - held.x, dy = event.clientY - held.y;
      held.moved ||= Math.hypot(dx, dy) > MOVED_PX;
      const [sx, sy] = this.view();
      if (held.moved)
        this.look({
          x: held.camera.x - (2 * dx) / stage.clientWidth / sx,
          y: held.camera.y + (2 * dy) / stage.clientHeight / sy,
        });
    });
    const release = (event) => {
      if (this.held && !this.held.moved && event.type === "pointerup") this.pick(this.nearest(this.toMap(event)));
      this.held = null;
    };
    stage.addEventListener("pointerup", release);
    stage.addEventListener("pointercancel", release);
    stage.addEventListener("pointerleave", () => (this.hover.textContent = ""));
    stage.addEventListener("wheel", (event) => {
      if (!this.count || !(event.ctrlKey || this.shadowRoot.activeElement === stage)) return; // the page scrolls on
      event.preventDefault();
      const [x, y] = this.toMap(event), zoom = clamp(this.camera.zoom * Math.exp(-event.deltaY / 300), 1, 24);
      const kept = this.camera.zoom / zoom;
      this.look({ zoom, x: x + (this.camera.x - x) * kept, y: y + (this.camera.y - y) * kept });
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.press(event));
    this.slider.addEventListener("input", () => this.show());
  }

  press(event) {
    if (!this.count || event.ctrlKey || event.metaKey || event.altKey) return;
    const from = this.cursor < 0 ? this.nearest([0, 0]) : this.cursor;
    const here = [this.places[2 * from], this.places[2 * from + 1]], { layer } = this.place(from);
    const number = this.layers.indexOf(layer), last = this.layers.length - 1;
    // Straight ahead costs the distance, off the line three times as much, behind is out of the question.
    const ahead = (x, y) => () => this.nearest(here, (dx, dy) => {
      const along = dx * x + dy * y, across = Math.abs(dx * y - dy * x);
      return along > 1e-6 && across <= 2 * along ? along + 3 * across : Infinity;
    });
    const other = (to) => () => this.layers[to].first;
    const moves = {
      ArrowRight: ahead(1, 0), ArrowLeft: ahead(-1, 0), ArrowUp: ahead(0, 1), ArrowDown: ahead(0, -1),
      PageUp: other(Math.max(0, number - 1)), PageDown: other(Math.min(last, number + 1)),
      Home: other(number), End: () => layer.first + layer.channels * layer.pitch - 1,
    };
    if (event.key in moves) {
      const found = moves[event.key]();
      this.cursor = found < 0 ? from : found;
      this.show();
    } else if (event.key === "Enter" || event.key === " ") this.pick(from);
    else if (event.key === "+" || event.key === "-") this.brush = this.brush + (event.key === "+" ? 0.02 : -0.02);
    else if (event.key === "0") this.look({ zoom: 1, x: 0, y: 0 });
    else if (event.key === "Escape" && this.cursor >= 0) [this.cursor, this.stale] = [-1, true];
    else return;
    event.preventDefault();
  }
}

if (!customElements.get("nm-neuron-map")) customElements.define("nm-neuron-map", NeuronMap);
