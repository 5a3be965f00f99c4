// <nm-course data-course>: rows of moments under a player, with a playhead that follows it; a click seeks.
// `data-course`: tr (seconds a moment), fit (a number a moment), rows (name, a number a moment; brass above 0, blue below).

const ROW = 18;
const FIT = 40; // height of the curve above the rows
const GAP = 6;
const NAMES = 0.34; // share of the width for names, at most
const COLOURS = { up: "#e3b565", down: "#6f86b8", head: "#f1ebdf", label: "#aeb2c0", line: "#363c4e", curve: "#7cc7b2" };

class Course extends HTMLElement {
  connectedCallback() {
    this.now = this.now ?? 0;
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
    Object.assign(this, JSON.parse(this.dataset.course));
    this.moments = Math.max(1, this.fit.length);
    this.duration = this.tr * this.moments;
    this.top = Math.max(1e-9, ...this.rows.flatMap(({ values }) => values.map(Math.abs)));
    this.canvas = document.createElement("canvas");
    this.replaceChildren(this.canvas);
    this.canvas.addEventListener("pointerdown", ({ offsetX }) => {
      const seconds = ((offsetX - this.left) / (this.canvas.clientWidth - this.left)) * this.duration;
      if (seconds >= 0) this.dispatchEvent(new CustomEvent("nm-seek", { bubbles: true, detail: seconds }));
    });
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
    const height = FIT + GAP + ROW * this.rows.length + 4;
    const scale = Math.min(2, window.devicePixelRatio || 1);
    if (this.canvas.width !== Math.round(width * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    this.left = Math.min(190, width * NAMES);
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const step = (width - this.left) / this.moments;
    this.rows.forEach((row, i) => this.drawRow(pen, row, FIT + GAP + i * ROW, step));
    this.drawFit(pen, width, step);
    pen.fillStyle = COLOURS.head;
    pen.fillRect(this.left + (Math.min(this.now, this.duration) / this.duration) * (width - this.left) - 0.75, 0, 1.5, height);
  }

  drawRow(pen, { name, values }, y, step) {
    values.forEach((value, i) => {
      pen.globalAlpha = 0.08 + 0.92 * Math.sqrt(Math.abs(value) / this.top);
      pen.fillStyle = value >= 0 ? COLOURS.up : COLOURS.down;
      pen.fillRect(this.left + i * step + 0.5, y + 1, step - 1, ROW - 2);
    });
    pen.globalAlpha = 1;
    this.write(pen, name, y + ROW / 2);
  }

  drawFit(pen, width, step) {
    const y = (value) => FIT / 2 - (Math.max(-1, Math.min(1, value)) * (FIT - 8)) / 2;
    pen.fillStyle = COLOURS.line;
    pen.fillRect(this.left, FIT / 2 - 0.5, width - this.left, 1);
    pen.strokeStyle = COLOURS.curve;
    pen.lineWidth = 2;
    pen.beginPath();
    this.fit.forEach((value, i) => pen.lineTo(this.left + (i + 0.5) * step, y(value)));
    pen.stroke();
    this.write(pen, "Match with what sounds", FIT / 2);
  }

  write(pen, words, y) {
    pen.fillStyle = COLOURS.label;
    let shown = words;
    while (shown.length > 4 && pen.measureText(shown).width > this.left - 12) shown = `${shown.slice(0, -2).trimEnd()}…`;
    pen.fillText(shown, 6, y);
  }
}

customElements.define("nm-course", Course);
