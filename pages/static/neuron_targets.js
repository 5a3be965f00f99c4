// <nm-targets>: what the loop is to become for: clusters picked on the map or regions chosen by hand, each with a weight.
// Event "aim" (on the document), detail { targets, time }, whenever they change.

const MOST = 64, MOST_CHANNELS = 16;
const SOON_MS = 150; // sliders send many values
const HAND = {
  layer: "Layer", channel: "Channel", channels: "How many channels", pitch: "Pitch", pitches: "How many pitches",
  time: "Time in the loop", times: "How much of it",
};
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const round = (value) => Number(value.toFixed(3));
const rows = ([low, high]) => (high - low > 1 ? `, pitches ${low + 1} to ${high}` : `, pitch ${high}`);

class Targets extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    const sliders = Object.entries(HAND).map(([name, label]) =>
      `<label><span>${label}</span><input type="range" min="0" max="1" step="any" value="${name === "times" ? 1 : name.endsWith("s") ? 0.1 : 0}"
        data-knob="hand-${name}"><output></output></label>`).join("");
    this.innerHTML = `<p class="nm-fact nm-targets-none">Nothing yet. Click the map above, or let chance choose.</p><ul></ul>
      <div class="nm-targets-row"><button type="button" data-act="chance">Surprise me</button>
      <button type="button" data-act="clear" hidden>Clear</button>
      <label class="nm-tick"><input type="checkbox"> Add the next pick (or hold Shift)</label></div>
      <details class="nm-hand"><summary>Choose by hand</summary><div class="nm-hand-grid">${sliders}</div></details>`;
    const find = (selector) => this.querySelector(selector);
    Object.assign(this, { list: find("ul"), none: find(".nm-targets-none"), adds: find("[type=checkbox]"), groups: [], time: null, layers: [] });
    find("[data-act=clear]").addEventListener("click", () => this.set([]));
    find("[data-act=chance]").addEventListener("click", () => this.chance());
    this.hand = Object.fromEntries(Object.keys(HAND).map((name) => [name, find(`[data-knob=hand-${name}]`)]));
    for (const input of Object.values(this.hand)) input.addEventListener("input", () => this.byHand());
    window.addEventListener("pointerdown", (event) => (this.shift = event.shiftKey), true);
  }

  /** The layers of another network: regions of the old one mean nothing there. */
  fit(layers, network, map) {
    const keep = network === this.network || this.network === undefined;
    Object.assign(this, { layers, network, map });
    this.hand.layer.max = layers.length - 1;
    this.label();
    if (!keep && this.groups.length) this.set([], true);
    else map.choose(this.flat());
  }

  /** A pick on the map. */
  pick({ neuron, members, targets }) {
    const around = members && members.length > 1 ? ` + ${members.length - 1} around` : "";
    const name = neuron === null ? `All of ${targets[0].layer}` : this.map.describe(neuron) + around;
    const group = { name, targets, weight: 1 };
    this.set(this.adds.checked || this.shift ? [...this.groups, group].slice(-8) : [group]);
  }

  /** Targets that came back with a kept loop. */
  bring(targets) {
    if (!targets.length) return this.set([], true);
    const [{ layer, channel, pitch, time }] = targets;
    const name = targets.length > 1 ? `${targets.length} regions of ${layer}` : this.named(layer, channel, pitch);
    this.time = time ?? null;
    this.set([{ name, targets: targets.map(({ time, ...rest }) => rest), weight: 1 }], true);
  }

  named(layer, channel, pitch) {
    const row = pitch ? rows(pitch) : "";
    return `${layer}${channel === null || channel === undefined ? "" : ` · channel ${channel + 1}`}${row}`;
  }

  chance() {
    if (!this.layers.length) return;
    const deep = this.layers.slice(Math.floor(this.layers.length / 3)); // beyond single partials
    const layer = deep[Math.floor(Math.random() * deep.length)];
    const neuron = layer.first + Math.floor(Math.random() * layer.channels * layer.pitch);
    this.map.pick(neuron);
  }

  byHand() {
    if (!this.layers.length) return;
    const value = (name) => Number(this.hand[name].value);
    const { name: layer, channels, pitch } = this.layers[Math.round(value("layer"))];
    const many = Math.round(1 + value("channels") * (channels - 1)), middle = Math.round(value("channel") * (channels - 1));
    const first = clamp(middle - Math.floor(many / 2), 0, channels - many);
    const some = many > MOST_CHANNELS ? [null] : Array.from({ length: many }, (_, i) => first + i);
    const wide = Math.round(1 + value("pitches") * (pitch - 1)), centre = Math.round(value("pitch") * (pitch - 1));
    const low = clamp(centre - Math.floor(wide / 2), 0, pitch - wide);
    const row = pitch > 1 ? [low, low + wide] : null;
    const part = value("times"), at = value("time");
    this.time = part > 0.97 ? null : [round((at - part / 2 + 1) % 1), round((at + Math.max(part, 0.03) / 2) % 1)];
    const targets = some.map((channel) => ({ layer, channel, pitch: row, weight: round(1 / some.length) }));
    const more = some.length > 1 ? ` · channels ${first + 1} to ${first + many}` : some[0] === null ? "" : ` · channel ${first + 1}`;
    const name = `${layer}${more}${row ? rows(row) : ""}`;
    this.label();
    this.set([...this.groups.filter(({ hand }) => !hand && this.adds.checked), { name, targets, weight: 1, hand: true }]);
  }

  /** What the sliders say beside them. */
  label() {
    if (!this.layers.length) return;
    const layer = this.layers[Math.round(Number(this.hand.layer.value))];
    const parts = { channel: layer.channels, channels: layer.channels, pitch: layer.pitch, pitches: layer.pitch };
    for (const [name, input] of Object.entries(this.hand)) {
      const share = Number(input.value);
      const said = name === "layer" ? layer.name : name in parts ? String(1 + Math.round(share * (parts[name] - 1))) : `${Math.round(100 * share)} %`;
      input.nextElementSibling.textContent = said;
      input.setAttribute("aria-valuetext", said);
    }
  }

  flat() {
    const time = this.time;
    return this.groups.flatMap(({ targets, weight }) =>
      targets.map((target) => ({ ...target, weight: round(clamp(target.weight * weight, -10, 10)), time }))).slice(0, MOST);
  }

  setTime(part) {
    this.time = part;
    if (this.groups.length) this.set(this.groups);
    else this.show();
  }

  set(groups, quiet = false) {
    this.groups = groups;
    this.show();
    clearTimeout(this.soon);
    if (!quiet) this.soon = setTimeout(() => this.tell(), SOON_MS);
  }

  tell() {
    document.dispatchEvent(new CustomEvent("nm-aim", { detail: { targets: this.flat(), time: this.time } }));
  }

  show() {
    this.map?.choose(this.flat());
    document.querySelector("nm-loop-ring")?.aim?.(this.time);
    this.none.hidden = this.groups.length > 0;
    this.querySelector("[data-act=clear]").hidden = !this.groups.length;
    if (this.list.children.length === this.groups.length && this.groups.every((group, i) => this.list.children[i].group === group)) return;
    this.list.replaceChildren(...this.groups.map((group) => this.row(group)));
  }

  row(group) {
    const item = document.createElement("li");
    item.group = group;
    const name = document.createElement("span"), weight = document.createElement("input"), drop = document.createElement("button");
    name.textContent = group.name;
    Object.assign(weight, { type: "range", min: -2, max: 2, step: 0.1, value: group.weight, title: "Weight: below zero it falls silent" });
    weight.setAttribute("aria-label", `Weight of ${group.name}`);
    const said = document.createElement("output");
    const show = () => (said.textContent = group.weight.toFixed(1));
    weight.addEventListener("input", () => {
      group.weight = Number(weight.value);
      show();
      this.set(this.groups);
    });
    show();
    Object.assign(drop, { type: "button", textContent: "×" });
    drop.setAttribute("aria-label", `Remove ${group.name}`);
    drop.addEventListener("click", () => this.set(this.groups.filter((other) => other !== group)));
    item.append(name, weight, said, drop);
    return item;
  }
}

customElements.define("nm-targets", Targets);
