// <nm-player src label duration peaks>: play and pause, a waveform to seek on, keys, one player sounding at a time.

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const ICON = { play: "M8 5v14l11-7z", pause: "M7 5h4v14H7zM13 5h4v14h-4z" };
const playing = new Set();

class Player extends HTMLElement {
  connectedCallback() {
    if (this.audio) return;
    this.duration = Number(this.getAttribute("duration")) || 0;
    const peaks = (this.getAttribute("peaks") ?? "").split(" ").map(Number);
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.audio.src = this.getAttribute("src");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.className = "nm-play";
    this.bars = this.drawBars(peaks);
    this.time = document.createElement("span");
    this.time.className = "nm-time";
    this.replaceChildren(this.audio, this.button, this.bars, this.time);
    this.button.addEventListener("click", () => this.toggle());
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.show());
    this.audio.addEventListener("timeupdate", () => this.show());
    this.audio.addEventListener("play", () => {
      for (const other of playing) if (other !== this) other.audio.pause();
      playing.add(this);
      this.follow();
    });
    this.show();
  }

  disconnectedCallback() {
    this.audio?.pause();
    playing.delete(this);
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
    if (this.audio.paused) this.audio.play().catch(() => this.show());
    else this.audio.pause();
  }

  follow() {
    if (this.audio.paused || !this.isConnected) return;
    this.show();
    requestAnimationFrame(() => this.follow());
  }

  show() {
    const now = this.audio.currentTime;
    const paused = this.audio.paused;
    const label = `${paused ? "Play" : "Pause"} ${this.getAttribute("label")}`;
    if (this.button.getAttribute("aria-label") !== label) {
      this.button.setAttribute("aria-label", label);
      this.button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${paused ? ICON.play : ICON.pause}"/></svg>`;
    }
    this.bars.style.setProperty("--done", `${this.duration ? (100 * now) / this.duration : 0}%`);
    this.bars.setAttribute("aria-valuenow", now.toFixed(1));
    this.bars.setAttribute("aria-valuetext", `${clock(now)} of ${clock(this.duration)}`);
    this.time.textContent = `${clock(now)} / ${clock(this.duration)}`;
  }
}

customElements.define("nm-player", Player);
