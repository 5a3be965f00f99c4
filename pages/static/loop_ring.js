// <nm-loop-ring>: the loop as a ring with its beats, the playhead, the part that is aimed at, and a level meter.
// Dragging along the ring chooses a part of the loop, a click the whole again: event "part", detail [from, to] or null.

const TURN = 2 * Math.PI;
const FALL = 0.92; // of the meter, each picture
const MOVED = 0.02; // of the loop
const SVG = `<svg viewBox="-50 -50 100 100" aria-hidden="true"><circle r="40" class="way"/><path class="part"/>
  <g class="beats"></g><circle r="5" class="head"/><text class="beat" text-anchor="middle" dy="7"></text></svg>`;

const point = (share, radius) => [radius * Math.sin(TURN * share), -radius * Math.cos(TURN * share)];

class LoopRing extends HTMLElement {
  connectedCallback() {
    if (this.head) return;
    this.innerHTML = `${SVG}<span class="nm-meter"><i></i></span>`;
    const find = (selector) => this.querySelector(selector);
    Object.assign(this, {
      head: find(".head"), arc: find(".part"), beats: find(".beats"), beat: find(".beat"), bar: find("i"), peak: 0, shown: "",
    });
    this.count(8);
    const ring = find("svg");
    const share = (event) => {
      const box = ring.getBoundingClientRect();
      const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
      return (Math.atan2(x, -y) / TURN + 1) % 1;
    };
    ring.addEventListener("pointerdown", (event) => {
      ring.setPointerCapture(event.pointerId);
      this.from = share(event);
    });
    ring.addEventListener("pointermove", (event) => {
      if (this.from === undefined) return;
      const to = share(event);
      if (Math.abs(to - this.from) > MOVED) this.aim([this.from, to]);
    });
    ring.addEventListener("pointerup", (event) => {
      const to = share(event), moved = Math.abs(to - this.from) > MOVED;
      const part = moved ? [this.from, to].map((value) => Number(value.toFixed(3))) : null;
      this.from = undefined;
      this.aim(part);
      this.dispatchEvent(new CustomEvent("part", { bubbles: true, detail: part }));
    });
  }

  /** Beats of the loop. */
  count(beats) {
    if (this.number === beats) return;
    this.number = beats;
    this.beats.innerHTML = Array.from({ length: beats }, (_, beat) => {
      const [[x1, y1], [x2, y2]] = [point(beat / beats, beat % 4 ? 44 : 42), point(beat / beats, 48)];
      return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${beat % 4 ? "" : "bar"}"/>`;
    }).join("");
  }

  /** Show the part of the loop that is aimed at; null for all of it. */
  aim(part) {
    const reach = part ? (part[1] - part[0] + 1) % 1 : 0;
    const [[x1, y1], [x2, y2]] = part ? part.map((share) => point(share, 40)) : [[0, 0], [0, 0]];
    this.arc.setAttribute("d", part ? `M${x1} ${y1}A40 40 0 ${reach > 0.5 ? 1 : 0} 1 ${x2} ${y2}` : "");
  }

  /** A picture: how far round the loop is, and its level. */
  draw(phase, level) {
    this.peak = Math.max(level, this.peak * FALL);
    const decibels = this.peak > 0 ? 20 * Math.log10(this.peak) : -60;
    this.bar.style.transform = `scaleY(${Math.min(1, Math.max(0, 1 + decibels / 48)).toFixed(3)})`;
    const [x, y] = point(phase ?? 0, 40);
    this.head.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
    const beat = phase === null ? "" : String(1 + Math.floor(phase * this.number));
    if (beat !== this.shown) this.beat.textContent = this.shown = beat;
  }
}

customElements.define("nm-loop-ring", LoopRing);
