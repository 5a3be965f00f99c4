// Two ways to draw points of light: `load` where they are, `shine` with their activity, `mark` the chosen, `draw` a moment.
//
//   load({ places, tints, sizes, count })   Float32Array [count × 2], bytes [count × 3], bytes [count], 100 being usual
//   shine(rows)                             bytes [frames × count]
//   mark(chosen)                            bytes [count]
//   draw({ before, after, blend, view, dot })   two frames and the share of the second; clip = place * view.xy + view.zw;
//                                           dot is a usual point's diameter in pixels
// `sharpness` is the number of pixels of the canvas for one of the page.

const INK = [0.067, 0.075, 0.102];
const DIM = 0.2; // brightness of a silent neuron
const COLOUR_FROM = 10, COLOUR_TO = 300; // hues of the first and the last layer in degrees
const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i; // WebGL computed by the processor, not all admit it
const MIN_RADIUS_PX = 1, MAX_RADIUS_PX = 6; // of the canvas's sprites

// Layer → [r, g, b] in 0..1: once round the hues from red to violet, as light in every one.
export const colours = (count) =>
  Array.from({ length: count }, (_, layer) => {
    const hue = COLOUR_FROM + ((COLOUR_TO - COLOUR_FROM) * layer) / Math.max(1, count - 1);
    return [0, 8, 4].map((n) => {
      const k = (n + hue / 30) % 12;
      return 0.6 - 0.38 * Math.max(-1, Math.min(k - 3, 9 - k, 1));
    });
  });

const VERTEX = `
attribute vec2 place; attribute vec3 tint; attribute float size, before, after, chosen;
uniform vec4 view; uniform float blend, spot; varying vec3 colour;
void main() {
  float light = mix(before, after, blend);
  gl_Position = vec4(place * view.xy + view.zw, 0.0, 1.0);
  gl_PointSize = max(1.0, spot * size * (1.0 + 1.2 * light));
  colour = mix(tint, vec3(1.0), 0.5 * light * light + 0.8 * chosen) * (${DIM} + 0.9 * light + 0.5 * chosen);
}`;
const FRAGMENT = `
precision mediump float; varying vec3 colour;
void main() {
  vec2 off = 2.0 * gl_PointCoord - 1.0;
  gl_FragColor = vec4(colour * exp(-3.0 * dot(off, off)) * step(dot(off, off), 1.0), 1.0);
}`;

export class WebglPainter {
  static open(canvas, insist) {
    const gl = canvas.getContext("webgl", { alpha: false, antialias: false, failIfMajorPerformanceCaveat: !insist });
    if (!gl) return null;
    const known = gl.getExtension("WEBGL_debug_renderer_info");
    const renderer = known ? gl.getParameter(known.UNMASKED_RENDERER_WEBGL) : "";
    if (insist || !SOFTWARE.test(renderer)) return new WebglPainter(canvas, gl);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return null;
  }

  constructor(canvas, gl) {
    Object.assign(this, { name: "webgl", canvas, gl, buffers: {}, sharpness: Math.min(2, devicePixelRatio || 1) });
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.at = (name) => gl.getAttribLocation(program, name);
    this.set = (name) => gl.getUniformLocation(program, name);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE);
    gl.clearColor(...INK, 1);
  }

  fill(name, data, width, offset = 0) {
    const { gl } = this;
    this.buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    if (data) gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    for (const attribute of name === "activity" ? ["before", "after"] : [name]) {
      gl.enableVertexAttribArray(this.at(attribute));
      gl.vertexAttribPointer(this.at(attribute), width, gl.UNSIGNED_BYTE, true, 0, offset);
    }
  }

  load({ places, tints, sizes, count }) {
    const { gl } = this;
    this.count = count;
    this.buffers.place ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.place);
    gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(this.at("place"));
    gl.vertexAttribPointer(this.at("place"), 2, gl.FLOAT, false, 0, 0);
    this.fill("tint", tints, 3);
    this.fill("size", sizes, 1);
    this.shine(new Uint8Array(count));
    this.mark(new Uint8Array(count));
  }

  shine(activity) {
    this.fill("activity", activity, 1);
  }

  mark(chosen) {
    this.fill("chosen", chosen, 1);
  }

  draw({ before, after, blend, view, dot }) {
    const { gl, canvas, count } = this;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.activity);
    gl.vertexAttribPointer(this.at("before"), 1, gl.UNSIGNED_BYTE, true, 0, before * count);
    gl.vertexAttribPointer(this.at("after"), 1, gl.UNSIGNED_BYTE, true, 0, after * count);
    gl.uniform4f(this.set("view"), ...view);
    gl.uniform1f(this.set("blend"), blend);
    gl.uniform1f(this.set("spot"), 2.55 * dot); // a size of 100 bytes is 1
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, count);
  }
}

// Adds small glowing sprites to an image in memory: quick where WebGL would itself be computed by the processor.
export class CanvasPainter {
  static open(canvas) {
    const context = canvas.getContext("2d", { alpha: false });
    return context && new CanvasPainter(canvas, context);
  }

  constructor(canvas, context) {
    Object.assign(this, { name: "canvas", canvas, context, sharpness: 1, key: "" });
  }

  load(chart) {
    Object.assign(this, chart, { activity: new Uint8Array(chart.count), chosen: new Uint8Array(chart.count), key: "" });
  }

  shine(activity) {
    this.activity = activity;
  }

  mark(chosen) {
    this.chosen = chosen;
    this.key = "";
  }

  // Pixels of all neurons and the picture of their silence, which change with the view only.
  prepare(view, dot) {
    const { width, height } = this.canvas;
    this.image = this.context.createImageData(width, height);
    const ink = INK.map((part) => Math.round(255 * part));
    const data = this.image.data;
    for (let at = 0; at < data.length; at += 4) data.set([...ink, 255], at);
    this.radius = Math.min(MAX_RADIUS_PX, Math.max(MIN_RADIUS_PX, Math.round(0.8 * dot)));
    const side = 2 * this.radius + 1;
    this.glow = Float32Array.from({ length: side * side }, (_, at) => {
      const x = (at % side) - this.radius, y = Math.floor(at / side) - this.radius;
      return Math.exp((-2.2 * (x * x + y * y)) / (this.radius * this.radius + 0.3));
    });
    this.pixels = new Int32Array(this.count);
    for (let i = 0; i < this.count; i++) {
      const x = Math.round(((this.places[2 * i] * view[0] + view[2] + 1) / 2) * width);
      const y = Math.round(((1 - this.places[2 * i + 1] * view[1] - view[3]) / 2) * height);
      const inside = x >= this.radius && y >= this.radius && x < width - this.radius && y < height - this.radius;
      this.pixels[i] = inside ? y * width + x : -1;
      if (inside) this.splat(data, i, this.chosen[i] ? 1 : DIM, this.chosen[i] ? 0.8 : 0);
    }
    this.still = data.slice();
  }

  splat(data, i, light, white) {
    const { radius, glow, tints, canvas } = this;
    const red = light * (tints[3 * i] * (1 - white) + 255 * white);
    const green = light * (tints[3 * i + 1] * (1 - white) + 255 * white);
    const blue = light * (tints[3 * i + 2] * (1 - white) + 255 * white);
    let k = 0;
    for (let y = -radius; y <= radius; y++) {
      let at = 4 * (this.pixels[i] + y * canvas.width - radius);
      for (let x = -radius; x <= radius; x++, at += 4, k++) {
        const part = glow[k];
        data[at] += red * part;
        data[at + 1] += green * part;
        data[at + 2] += blue * part;
      }
    }
  }

  draw({ before, after, blend, view, dot }) {
    const key = `${this.canvas.width} ${this.canvas.height} ${view} ${dot}`;
    if (key !== this.key) this.prepare(view, dot);
    this.key = key;
    const { activity, count, pixels, image } = this;
    image.data.set(this.still);
    const a = before * count, b = after * count;
    for (let i = 0; i < count; i++) {
      const light = (activity[a + i] * (1 - blend) + activity[b + i] * blend) / 255;
      if (light > 0.02 && pixels[i] >= 0) this.splat(image.data, i, 0.9 * light, 0.5 * light * light);
    }
    this.context.putImageData(image, 0, 0);
  }
}
