// LoopPlayer: a loop that never stops, and the next one in its place exactly at the boundary.
//
// Every loop repeats by itself (AudioBufferSourceNode.loop), so nothing that stalls (network, a tab in the background, a
// busy page) can silence it. A new loop is scheduled ahead with `start(boundary)` and both fade into each other over
// 2,000 samples with constant power. Successive loops are alike, so the usual sine and cosine would swell by up to 3 dB;
// their curves are divided by the power that the two would have together, which for unrelated loops changes nothing.
//
//   player.take(clip)      clip: { samples, rate, info }; plays at the next boundary, the latest taken wins
//   player.play() pause()  the first call must come from a click
//   player.clock()         seconds of the audio that is heard now; player.heard() → { clip, start, duration, phase }
//   "next" event           detail { clip, start }: when a loop has been scheduled; "state" when it plays or pauses

import { begin } from "./sound.js";

export const FADE_SAMPLES = 2000;
const RATE = 24_000; // of the ears; a context at that rate plays their loops sample for sample
const LEAD_S = 0.08; // a boundary nearer than this is left to the next round
const RAMP_S = 0.02;
const STEPS = 128;

/** 16-bit WAV → { samples, rate }, the first channel. */
export function readWav(bytes) {
  const view = new DataView(bytes), word = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 44 || word(0) !== "RIFF") throw new Error("not a WAV file");
  let rate = 0, channels = 1;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const name = word(at), size = view.getUint32(at + 4, true);
    if (name === "fmt ") [channels, rate] = [view.getUint16(at + 10, true), view.getUint32(at + 12, true)];
    if (name === "data") {
      const count = Math.floor(Math.min(size, bytes.byteLength - at - 8) / 2 / channels);
      const samples = new Float32Array(count);
      for (let i = 0; i < count; i++) samples[i] = view.getInt16(at + 8 + 2 * channels * i, true) / 32768;
      return { samples, rate };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error("a WAV file without sound");
}

/** Gains of the loop that goes and of the one that comes, of constant power for a correlation of the two. */
export function fades(correlation, steps = STEPS) {
  const out = new Float32Array(steps), into = new Float32Array(steps);
  for (let i = 0; i < steps; i++) {
    const angle = (0.5 * Math.PI * i) / (steps - 1), cos = Math.cos(angle), sin = Math.sin(angle);
    const together = Math.sqrt(1 + 2 * correlation * cos * sin);
    [out[i], into[i]] = [cos / together, sin / together];
  }
  return { out, into };
}

/** How alike the beginnings of two loops are, 0 to 1: what goes plays its beginning again while it fades. */
export function likeness(a, b) {
  let ab = 0, aa = 0, bb = 0;
  for (let i = 0; i < Math.min(FADE_SAMPLES, a.length, b.length); i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa > 0 && bb > 0 ? Math.max(0, Math.min(1, ab / Math.sqrt(aa * bb))) : 0;
}

export class LoopPlayer extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { context: null, playing: false, clip: null, voices: [] });
    document.addEventListener("nm-begin", ({ detail }) => detail !== this && this.pause());
  }

  open() {
    const Context = window.AudioContext || window.webkitAudioContext;
    try {
      this.context = new Context({ sampleRate: RATE, latencyHint: "playback" });
    } catch {
      this.context = new Context(); // resamples each loop as it plays
    }
    this.master = this.context.createGain();
    this.master.gain.value = 0;
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 1024;
    this.wave = new Float32Array(1024);
    this.master.connect(this.analyser).connect(this.context.destination);
  }

  async play() {
    begin(this);
    if (!this.context) this.open();
    this.playing = true;
    this.tell();
    await this.context.resume();
    if (!this.playing) return;
    this.ramp(1);
    if (this.clip && !this.voices.length) this.schedule(this.clip, this.context.currentTime + LEAD_S);
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    this.ramp(0);
    setTimeout(() => this.playing || this.context.suspend(), 1000 * (RAMP_S + 0.05));
    this.tell();
  }

  ramp(to) {
    const { gain } = this.master, now = this.context.currentTime;
    gain.cancelScheduledValues(now);
    gain.setValueAtTime(gain.value, now);
    gain.linearRampToValueAtTime(to, now + RAMP_S);
  }

  tell() {
    this.dispatchEvent(new Event("state"));
  }

  take(clip) {
    this.clip = clip;
    if (this.voices.length) this.schedule(clip, null);
  }

  /** Where the loop that sounds ends next, far enough ahead; `voices` is left with that loop only and those before it. */
  boundary() {
    const now = this.context.currentTime;
    const late = this.voices.at(-1);
    if (this.voices.length > 1 && late.start > now + LEAD_S) this.recall(late);
    const { start, duration } = this.voices.at(-1);
    return start + duration * Math.max(1, Math.ceil((now + LEAD_S - start) / duration));
  }

  /** Take back a loop that was scheduled and has not begun. */
  recall(voice) {
    this.voices.pop();
    voice.source.stop();
    voice.source.disconnect();
    const { gain } = this.voices.at(-1).gain;
    gain.cancelScheduledValues(voice.start);
    gain.setValueAtTime(1, voice.start);
    this.voices.at(-1).source.stop(1e9);
  }

  schedule(clip, at) {
    const { context } = this;
    const before = at === null ? this.voices.at(-1) : null;
    const when = Math.round((at ?? this.boundary()) * context.sampleRate) / context.sampleRate;
    const going = before && this.voices.at(-1);
    const buffer = context.createBuffer(1, clip.samples.length, clip.rate);
    buffer.copyToChannel(clip.samples, 0);
    const source = new AudioBufferSourceNode(context, { buffer, loop: true });
    const gain = context.createGain();
    source.connect(gain).connect(this.master);
    source.start(when);
    if (going) {
      const fade = FADE_SAMPLES / clip.rate;
      const { out, into } = fades(going.clip.rate === clip.rate ? likeness(going.clip.samples, clip.samples) : 0);
      gain.gain.setValueAtTime(0, 0);
      gain.gain.setValueCurveAtTime(into, when, fade);
      going.gain.gain.setValueCurveAtTime(out, when, fade);
      going.source.stop(when + fade + 0.01);
      going.source.onended = () => {
        going.gain.disconnect();
        this.voices = this.voices.filter((voice) => voice !== going || voice === this.voices.at(-1));
      };
    }
    const voice = { source, gain, clip, start: when, duration: clip.samples.length / clip.rate };
    this.voices.push(voice);
    this.dispatchEvent(new CustomEvent("next", { detail: { clip, start: when, duration: voice.duration } }));
  }

  /** Seconds of what comes out of the loudspeaker now. */
  clock() {
    if (!this.context) return 0;
    const late = this.context.outputLatency || this.context.baseLatency || 0;
    return this.context.currentTime - late;
  }

  /** Which loop is heard now, and how far round it is (0 to 1); null before the first. */
  heard() {
    const now = this.clock();
    const voice = this.voices.findLast(({ start }) => start <= now);
    if (!voice) return null;
    return { clip: voice.clip, start: voice.start, duration: voice.duration, phase: ((now - voice.start) / voice.duration) % 1 };
  }

  /** Peak of the last 40 ms or so, 0 to 1. */
  level() {
    if (!this.playing || !this.analyser) return 0;
    this.analyser.getFloatTimeDomainData(this.wave);
    return this.wave.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  }
}
