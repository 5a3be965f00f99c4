// <nm-roll duration notes>: a piano roll whose playhead follows the player of its card; a long one scrolls past it.
// `notes` are four whole numbers each: onset and length in centiseconds, MIDI pitch, part (0 melody).

const HEIGHT = 116;
const WHOLE_S = 45; // up to here all of it is shown
const WINDOW_S = 24;
const AHEAD = 0.3; // where the playhead stays in a scrolling roll
const COLOURS = { melody: "#f0c987", other: "#7cc7b2", line: "#363c4e", head: "#f1ebdf", label: "#aeb2c0" };

class Roll extends HTMLElement {
  connectedCallback() {
    this.duration = Number(this.getAttribute("duration")) || 1;
    this.now = 0;
    if (!this.canvas) this.build();
    this.card = this.closest(".nm-card");
    this.card?.addEventListener("nm-time", (this.onTime = ({ detail }) => this.at(detail.now)));
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this);
  }

  disconnectedCallback() {
    this.card?.removeEventListener("nm-time", this.onTime);
    this.watcher.disconnect();
  }

  build() {
    const flat = (this.getAttribute("notes") || "").split(" ").filter(Boolean).map(Number);
    this.notes = [];
    for (let i = 0; i + 3 < flat.length; i += 4) {
      this.notes.push({ start: flat[i] / 100, length: flat[i + 1] / 100, pitch: flat[i + 2], part: flat[i + 3] });
    }
    const pitches = this.notes.map((note) => note.pitch);
    this.low = pitches.reduce((a, b) => Math.min(a, b), 60) - 2;
    this.high = pitches.reduce((a, b) => Math.max(a, b), 72) + 2;
    this.longest = this.notes.reduce((a, note) => Math.max(a, note.length), 0);
    this.canvas = document.createElement("canvas");
    this.replaceChildren(this.canvas);
    this.canvas.addEventListener("pointerdown", (event) => {
      const share = event.offsetX / this.canvas.clientWidth;
      this.dispatchEvent(new CustomEvent("nm-seek", { bubbles: true, detail: this.from() + share * this.span() }));
    });
  }

  /** Seconds that are seen at once. */
  span() {
    return this.duration <= WHOLE_S ? this.duration : WINDOW_S;
  }

  /** The time at the left edge. */
  from() {
    if (this.duration <= WHOLE_S) return 0;
    return Math.min(Math.max(0, this.now - AHEAD * WINDOW_S), this.duration - WINDOW_S);
  }

  at(now) {
    if (now === this.now) return;
    this.now = now;
    this.dataset.now = now.toFixed(2);
    this.draw();
  }

  draw() {
    const width = this.clientWidth;
    if (!width) return; // hidden: drawn when it is shown
    const scale = Math.min(2, window.devicePixelRatio || 1);
    if (this.canvas.width !== Math.round(width * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = HEIGHT * scale;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, HEIGHT);
    const from = this.from();
    const x = (seconds) => ((seconds - from) / this.span()) * width;
    const row = HEIGHT / (this.high - this.low + 1);
    const y = (pitch) => (this.high - pitch) * row;
    this.drawOctaves(pen, width, y, row);
    this.drawNotes(pen, width, x, y, row, from);
    pen.fillStyle = COLOURS.head;
    pen.fillRect(x(this.now) - 0.75, 0, 1.5, HEIGHT);
  }

  drawOctaves(pen, width, y, row) {
    pen.font = "10px system-ui, sans-serif";
    for (let pitch = Math.ceil(this.low / 12) * 12; pitch <= this.high; pitch += 12) {
      pen.fillStyle = COLOURS.line;
      pen.fillRect(0, y(pitch) + row - 0.5, width, 1);
      pen.fillStyle = COLOURS.label;
      if (y(pitch) + row > 14) pen.fillText(`C${pitch / 12 - 1}`, 3, y(pitch) + row - 3);
    }
  }

  drawNotes(pen, width, x, y, row, from) {
    for (let i = this.firstAfter(from - this.longest); i < this.notes.length; i++) {
      const note = this.notes[i];
      if (note.start > from + this.span()) break;
      const sounding = note.start <= this.now && this.now < note.start + note.length && this.now > 0;
      const left = x(note.start);
      pen.fillStyle = note.part ? COLOURS.other : COLOURS.melody;
      pen.globalAlpha = sounding ? 1 : 0.68;
      const thick = Math.max(2.5, row * (note.part ? 0.7 : 1));
      pen.fillRect(left, y(note.pitch) + (row - thick) / 2, Math.max(2, x(note.start + note.length) - left - 1), thick);
    }
    pen.globalAlpha = 1;
  }

  firstAfter(seconds) {
    let low = 0;
    let high = this.notes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.notes[middle].start < seconds) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

customElements.define("nm-roll", Roll);
