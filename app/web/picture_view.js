// One picture: before and after with a slider, zoom, pages, its route, other categories side by side, saturation.

import { call, colorize } from "./api.js";
import { outputName, isDisplayable, percent, save } from "./files.js";
import { chosenOptions } from "./options.js";
import { VariantsView } from "./variants_view.js";

const element = (id) => document.getElementById(id);

const PAUSE = 350; // milliseconds without a move of the slider, after which the server replaces the approximation

const REASONS = {
  confident: () => "The router was confident.",
  below_threshold: (d) =>
    `${d.top[0].category} was most probable with ${percent(d.confidence)}, below the threshold of ${percent(d.threshold)}.`,
  unmapped: () => "It fits none of the categories.",
  requested: () => "As requested.",
};

export class PictureView {
  constructor(showStatus) {
    this.showStatus = showStatus;
    this.file = null;
    this.category = "auto";
    this.page = 1;
    this.urls = new Map();
    this.variants = new VariantsView((category) => this.colorize(category));
    element("cut").addEventListener("input", () => this.cut());
    element("saturation").addEventListener("input", () => this.saturate());
    element("categories").addEventListener("change", (event) => this.colorize(event.target.value));
    element("download").addEventListener("click", () => this.download());
    element("zoom").addEventListener("click", () => this.zoom(!element("viewport").classList.contains("actual")));
    for (const [id, step] of [["previous", -1], ["next", 1]]) element(id).addEventListener("click", () => this.turn(step));
    this.cut();
  }

  async open(file) {
    this.close();
    this.file = file;
    this.page = 1;
    element("saturation").value = 1;
    element("cut").value = 50;
    this.cut();
    this.zoom(false);
    await this.reroute("auto");
  }

  // Colorizes again with other options of the route, and shows the variants of that route.
  async reroute(category = this.category) {
    if (!this.file) return;
    await this.colorize(category);
    if (!this.output) return;
    const { format, ...query } = this.query();
    await this.variants.show(this.file, { ...query, category: "auto" }, this.shown, this.work.signal);
  }

  // Another page of the file.
  async turn(step) {
    this.page += step;
    this.before = this.output = null;
    await this.reroute("auto");
  }

  close() {
    this.work?.abort();
    clearTimeout(this.timer);
    this.file = this.before = this.output = null;
    for (const [which, url] of this.urls) {
      element(which).removeAttribute("src");
      URL.revokeObjectURL(url);
    }
    this.urls.clear();
    this.variants.clear();
    element("one").hidden = true;
  }

  // Requests saturation 1, which the slider scales; then the value of the slider, if it differs.
  async colorize(category) {
    if (!this.file) return;
    this.category = category;
    const signal = this.begin("Colorizing…");
    try {
      const file = this.file;
      if (!this.output) await this.preview(file, signal);
      const { decision, blob } = await colorize(file, this.query(), signal);
      const before = this.before ?? (isDisplayable(file) ? file : (await colorize(file, { ...this.query(), saturation: 0 }, signal)).blob);
      signal.throwIfAborted();
      this.before = before;
      this.output = blob;
      await this.show("before", this.before, signal);
      await this.show("after", blob, signal);
      this.describe(decision);
      element("one").hidden = false;
      this.end();
      this.saturate();
    } catch (error) {
      this.fail(error);
    }
  }

  // Shows the input in gray while the server colorizes, if the browser can display it.
  async preview(file, signal) {
    element("candidates").replaceChildren();
    for (const id of ["category", "confidence", "reason"]) element(id).textContent = "";
    if (!isDisplayable(file)) return;
    await this.show("before", file, signal);
    await this.show("after", file, signal);
    element("after").style.filter = "grayscale(1)";
    element("one").hidden = !element("before").naturalWidth;
  }

  // Approximates the saturation with a CSS filter; the server returns the exact picture after a pause.
  saturate() {
    const value = Number(element("saturation").value);
    element("saturation-value").value = value.toFixed(2);
    clearTimeout(this.timer);
    if (!this.output) return;
    if (this.scaled) this.show("after", this.output);
    this.scaled = false;
    element("after").style.filter = value === 1 ? "" : `saturate(${value})`;
    if (value !== 1) this.timer = setTimeout(() => this.scale(value), PAUSE);
  }

  async scale(saturation) {
    const signal = this.begin("");
    try {
      const { blob } = await colorize(this.file, { ...this.query(), saturation }, signal);
      await this.show("after", blob, signal);
      this.scaled = true;
      element("after").style.filter = "";
      this.end();
    } catch (error) {
      this.fail(error);
    }
  }

  // What is shown: in a format that the browser can display.
  query() {
    const format = isDisplayable(this.file) ? "auto" : "png";
    return { category: this.category, ...chosenOptions("routing", "threshold"), format, page: this.page };
  }

  // With the options of the output; of a file with several pages all, if the format can hold them.
  async download() {
    const saturation = element("saturation").value;
    const { page, ...query } = this.query();
    try {
      const one = this.pageCount > 1 && !/tiff/.test(chosenOptions("format").format ?? this.file.type);
      const options = { ...query, format: "auto", ...chosenOptions(), saturation, ...(one ? { page } : {}) };
      const { blob } = await colorize(this.file, options);
      save(blob, outputName(this.file.name, blob.type));
    } catch (error) {
      this.fail(error);
    }
  }

  zoom(actual) {
    element("viewport").classList.toggle("actual", actual);
    element("zoom").setAttribute("aria-pressed", String(actual));
    element("viewport").tabIndex = actual ? 0 : -1;
  }

  describe(decision) {
    this.shown = decision.category;
    this.pageCount = decision.page_count;
    element("pages").hidden = decision.page_count < 2;
    element("page-title").textContent = `Page ${decision.page} of ${decision.page_count}`;
    element("previous").disabled = decision.page <= 1;
    element("next").disabled = decision.page >= decision.page_count;
    element("notes").replaceChildren(...decision.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
    this.variants.press(this.shown);
    element("category").textContent = decision.category;
    element("confidence").textContent = decision.reason === "confident" ? percent(decision.confidence) : "";
    const experts = decision.experts.map(({ name }) => name).join(", ");
    element("reason").textContent = `${REASONS[decision.reason](decision)} Expert: ${experts}.`;
    const buttons = decision.top.map(({ category, probability }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${category} ${percent(probability)}`;
      button.setAttribute("aria-pressed", String(category === decision.category));
      button.addEventListener("click", () => this.colorize(category));
      return button;
    });
    const focused = [...element("candidates").children].indexOf(document.activeElement);
    element("candidates").replaceChildren(...buttons);
    if (focused >= 0) buttons[Math.min(focused, buttons.length - 1)]?.focus();
    element("categories").value = this.category;
  }

  async show(which, blob, signal) {
    const image = element(which);
    const old = this.urls.get(which);
    this.urls.set(which, URL.createObjectURL(blob));
    image.src = this.urls.get(which);
    await image.decode().catch(() => {});
    if (old) URL.revokeObjectURL(old);
    signal?.throwIfAborted();
    if (image.naturalHeight) element("compare").style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  }

  cut() {
    const value = element("cut").value;
    element("compare").style.setProperty("--cut", value / 100);
    element("cut").setAttribute("aria-valuetext", `${value}% before, ${100 - value}% after`);
  }

  begin(text) {
    this.work?.abort();
    this.work = new AbortController();
    if (text) this.showStatus(text);
    element("one").classList.add("busy");
    return this.work.signal;
  }

  end() {
    this.showStatus("");
    element("one").classList.remove("busy");
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.end();
    if (!this.output) element("one").hidden = true;
    this.showStatus(this.file ? `${this.file.name}: ${error.message}` : error.message, error);
  }
}

export async function listCategories() {
  const categories = await (await call("/v1/categories")).json();
  const options = ["auto", ...categories.map(({ name }) => name)].map((name) => new Option(name, name));
  element("categories").replaceChildren(...options);
}
