// The colors to choose from for a point: plausible ones, those of the picture, gray, and any other.

import { plausibleColors } from "./api.js";
import { percent } from "./files.js";

const element = (id) => document.getElementById(id);

const SIDE = 48; // pixels, of the small picture whose colors are counted
const STEP = 24; // levels of chroma that count as one color
const OWN = 8; // colors of the picture

export class Palette {
  constructor(choose) {
    this.choose = choose;
    let picking = false; // the native picker sends each color that is passed on the way
    element("any-color").addEventListener("input", (event) => {
      choose(event.target.value, picking);
      picking = true;
    });
    element("any-color").addEventListener("change", () => (picking = false));
    element("gray-color").addEventListener("click", () => choose("#808080"));
    element("gray-color").style.setProperty("--color", "#808080");
  }

  // The plausible colors of a point, which the server knows; none if the expert predicts no distribution.
  async show(file, query, color) {
    this.work?.abort();
    this.work = new AbortController();
    element("any-color").value = color;
    const { signal } = this.work;
    element("plausible").classList.add("loading");
    try {
      const colors = await plausibleColors(file, query, signal);
      signal.throwIfAborted();
      this.fill("plausible", colors.map(({ color, probability }) => [color, `${color}, ${percent(probability)} probable`]));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fill("plausible", []);
      element("plausible").textContent = error.message;
    }
    element("plausible").classList.remove("loading");
  }

  clear() {
    this.work?.abort();
    this.fill("plausible", []);
    element("plausible").classList.remove("loading");
  }

  // The most frequent chroma of a picture, as the mean of the pixels that have it.
  showOwn(image) {
    const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, SIDE, SIDE);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const found = new Map();
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue] = data.slice(at, at + 3);
      const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
      const key = `${Math.round((red - luma) / STEP)},${Math.round((blue - luma) / STEP)}`;
      const sums = found.get(key) ?? [0, 0, 0, 0];
      found.set(key, [sums[0] + red, sums[1] + green, sums[2] + blue, sums[3] + 1]);
    }
    const frequent = [...found.values()].sort((a, b) => b[3] - a[3]).slice(0, OWN);
    this.fill("own", frequent.map(([red, green, blue, count]) => hex([red, green, blue].map((sum) => sum / count))).map((color) => [color, color]));
  }

  fill(id, colors) {
    element(id).replaceChildren(
      ...colors.map(([color, label]) => {
        const button = Object.assign(document.createElement("button"), { type: "button", className: "swatch", title: label });
        button.setAttribute("aria-label", label);
        button.style.setProperty("--color", color);
        button.addEventListener("click", () => this.choose(color));
        return button;
      }),
    );
  }
}

export const hex = (levels) => `#${levels.map((level) => Math.round(level).toString(16).padStart(2, "0")).join("")}`;
