// One picture: before and after under a slider, how it was routed, other categories, saturation.

import { call, colorize } from "./api.js";
import { colouredName, isShown, percent, save } from "./files.js";

const part = (id) => document.getElementById(id);

const PAUSE = 350; // milliseconds without a move of the slider, after which the server paints what the browser has only guessed

const REASONS = {
  confident: () => "The router was confident.",
  below_threshold: (d) =>
    `${d.top[0].category} was likeliest with ${percent(d.confidence)}, and the router wants ${percent(d.threshold)}: the fallback painted.`,
  unmapped: () => "It fits none of the categories, so the fallback painted.",
  requested: () => "As you asked.",
};

export class One {
  constructor(say, routing) {
    this.say = say;
    this.routing = routing;
    this.file = null;
    this.category = "auto";
    this.urls = new Map();
    part("cut").addEventListener("input", () => this.cut());
    part("saturation").addEventListener("input", () => this.saturate());
    part("categories").addEventListener("change", (event) => this.paint(event.target.value));
    part("download").addEventListener("click", () => this.download());
    this.cut();
  }

  async open(file) {
    this.close();
    this.file = file;
    part("saturation").value = 1;
    part("cut").value = 50;
    this.cut();
    await this.paint("auto");
  }

  close() {
    this.work?.abort();
    clearTimeout(this.timer);
    this.file = this.grey = this.painted = null;
    for (const [which, url] of this.urls) {
      part(which).removeAttribute("src");
      URL.revokeObjectURL(url);
    }
    this.urls.clear();
    part("one").hidden = true;
  }

  // Paints at saturation 1, which is what the slider scales; then at the slider's own value, if it has another.
  async paint(category) {
    if (!this.file) return;
    this.category = category;
    const signal = this.begin("Painting…");
    try {
      const file = this.file;
      if (!this.painted) await this.preview(file, signal);
      const { decision, blob } = await colorize(file, this.query(), signal);
      const grey = this.grey ?? (isShown(file) ? file : (await colorize(file, { ...this.query(), saturation: 0 }, signal)).blob);
      signal.throwIfAborted();
      this.grey = grey;
      this.painted = blob;
      await this.show("before", this.grey, signal);
      await this.show("after", blob, signal);
      this.describe(decision);
      part("one").hidden = false;
      this.end();
      this.saturate();
    } catch (error) {
      this.fail(error);
    }
  }

  // What the browser can show is shown grey while the server paints.
  async preview(file, signal) {
    part("candidates").replaceChildren();
    for (const id of ["category", "confidence", "reason"]) part(id).textContent = "";
    if (!isShown(file)) return;
    await this.show("before", file, signal);
    await this.show("after", file, signal);
    part("after").style.filter = "grayscale(1)";
    part("one").hidden = !part("before").naturalWidth;
  }

  // At once by a filter of the browser's; exactly, by the server, after a pause.
  saturate() {
    const value = Number(part("saturation").value);
    part("saturation-value").value = value.toFixed(2);
    clearTimeout(this.timer);
    if (!this.painted) return;
    if (this.scaled) this.show("after", this.painted);
    this.scaled = false;
    part("after").style.filter = value === 1 ? "" : `saturate(${value})`;
    if (value !== 1) this.timer = setTimeout(() => this.scale(value), PAUSE);
  }

  async scale(saturation) {
    const signal = this.begin("");
    try {
      const { blob } = await colorize(this.file, { ...this.query(), saturation }, signal);
      await this.show("after", blob, signal);
      this.scaled = true;
      part("after").style.filter = "";
      this.end();
    } catch (error) {
      this.fail(error);
    }
  }

  query() {
    return { category: this.category, routing: this.routing(), format: isShown(this.file) ? "auto" : "png" };
  }

  // In the upload's own format, which the browser may not be able to show.
  async download() {
    const saturation = part("saturation").value;
    try {
      const { blob } = await colorize(this.file, { ...this.query(), format: "auto", saturation });
      save(blob, colouredName(this.file.name, blob.type));
    } catch (error) {
      this.fail(error);
    }
  }

  describe(decision) {
    part("category").textContent = decision.category;
    part("confidence").textContent = decision.reason === "confident" ? percent(decision.confidence) : "";
    const painters = decision.experts.map(({ name }) => name).join(", ");
    part("reason").textContent = `${REASONS[decision.reason](decision)} Painted by: ${painters}.`;
    const buttons = decision.top.map(({ category, probability }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${category} ${percent(probability)}`;
      button.setAttribute("aria-pressed", String(category === decision.category));
      button.addEventListener("click", () => this.paint(category));
      return button;
    });
    const focused = [...part("candidates").children].indexOf(document.activeElement);
    part("candidates").replaceChildren(...buttons);
    if (focused >= 0) buttons[Math.min(focused, buttons.length - 1)]?.focus();
    part("categories").value = this.category;
  }

  async show(which, blob, signal) {
    const image = part(which);
    const old = this.urls.get(which);
    this.urls.set(which, URL.createObjectURL(blob));
    image.src = this.urls.get(which);
    await image.decode().catch(() => {});
    if (old) URL.revokeObjectURL(old);
    signal?.throwIfAborted();
    if (image.naturalHeight) part("compare").style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  }

  cut() {
    const value = part("cut").value;
    part("compare").style.setProperty("--cut", value / 100);
    part("cut").setAttribute("aria-valuetext", `${value}% before, ${100 - value}% after`);
  }

  begin(text) {
    this.work?.abort();
    this.work = new AbortController();
    if (text) this.say(text);
    part("one").classList.add("busy");
    return this.work.signal;
  }

  end() {
    this.say("");
    part("one").classList.remove("busy");
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.end();
    if (!this.painted) part("one").hidden = true;
    this.say(this.file ? `${this.file.name}: ${error.message}` : error.message, error);
  }
}

export async function listCategories() {
  const categories = await (await call("/v1/categories")).json();
  const options = ["auto", ...categories.map(({ name }) => name)].map((name) => new Option(name, name));
  part("categories").replaceChildren(...options);
}
