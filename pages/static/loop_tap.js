// The audio thread's end of the recorder: hands on what it hears, in blocks of 4,096 samples.

const BLOCK = 4096;

class LoopTap extends AudioWorkletProcessor {
  constructor() {
    super();
    Object.assign(this, { block: new Float32Array(BLOCK), filled: 0, open: true });
    this.port.onmessage = () => {
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(null);
      this.open = false;
    };
  }

  process([input]) {
    const heard = input[0] ?? new Float32Array(128);
    for (const sample of heard) {
      this.block[this.filled++] = sample;
      if (this.filled < BLOCK) continue;
      this.port.postMessage(this.block);
      this.filled = 0;
    }
    return this.open;
  }
}

registerProcessor("nm-loop-tap", LoopTap);
