// LoopRecorder: what a player lets sound, sample for sample, as a WAV file made in the browser.

const LONGEST_S = 3600;
const BLOCK = 4096;

export const toInt16 = (samples) =>
  Int16Array.from(samples, (value) => Math.round(32767 * Math.min(1, Math.max(-1, value))));

/** Blocks of 16-bit samples → a WAV file. */
export function wavFile(blocks, rate) {
  const size = blocks.reduce((sum, block) => sum + 2 * block.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const word = (at, text) => [...text].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF"), head.setUint32(4, 36 + size, true), word(8, "WAVEfmt ");
  head.setUint32(16, 16, true), head.setUint16(20, 1, true), head.setUint16(22, 1, true);
  head.setUint32(24, rate, true), head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true), head.setUint16(34, 16, true), word(36, "data"), head.setUint32(40, size, true);
  return new Blob([head.buffer, ...blocks], { type: "audio/wav" });
}

export class LoopRecorder {
  constructor(player) {
    Object.assign(this, { player, blocks: [], node: null, samples: 0 });
  }

  get seconds() {
    return this.node ? this.samples / this.player.context.sampleRate : 0;
  }

  /** Begin; `full` is called when the longest recording is reached. */
  async start(full = () => {}) {
    const { context, master } = this.player;
    Object.assign(this, { blocks: [], samples: 0 });
    this.add = (block) => {
      if (this.samples >= LONGEST_S * context.sampleRate) return void full();
      this.blocks.push(toInt16(block));
      this.samples += block.length;
    };
    if (context.audioWorklet) {
      await context.audioWorklet.addModule(new URL("./loop_tap.js", import.meta.url));
      this.node = new AudioWorkletNode(context, "nm-loop-tap", { channelCount: 1, channelCountMode: "explicit" });
      this.node.port.onmessage = ({ data }) => (data ? this.add(data) : this.last?.());
    } else {
      this.node = context.createScriptProcessor(BLOCK, 1, 1); // pages without a secure origin have no worklets
      this.node.onaudioprocess = ({ inputBuffer }) => this.add(inputBuffer.getChannelData(0));
    }
    this.node.connect(context.destination); // silent, but what leads nowhere is not asked for sound
    master.connect(this.node);
  }

  /** End, and the file. */
  async stop() {
    const { node, player } = this;
    if (node.port) {
      const last = new Promise((done) => (this.last = done));
      node.port.postMessage("end");
      await Promise.race([last, new Promise((done) => setTimeout(done, 1000))]);
    }
    player.master.disconnect(node);
    node.disconnect();
    this.node = null;
    return { file: wavFile(this.blocks, player.context.sampleRate), seconds: this.samples / player.context.sampleRate };
  }
}
