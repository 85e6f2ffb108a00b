// One picture: before and after with a slider, zoom, pages, its route, other categories side by side, saturation.

import { colorize } from "./api.js";
import { outputName, isDisplayable, percent, save } from "./files.js";
import { HintsView } from "./hints_view.js";
import { chosenOptions } from "./options.js";
import { VariantsView } from "./variants_view.js";
import { initZoom, zoom } from "./zoom.js";

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
    this.page = this.pageCount = 1;
    this.urls = new Map();
    this.variants = new VariantsView((category) => this.colorize(category));
    this.hints = new HintsView(() => this.colorize(), () => this.query());
    element("cut").addEventListener("input", () => this.cut());
    element("saturation").addEventListener("input", () => this.saturate());
    element("categories").addEventListener("change", (event) => this.colorize(event.target.value));
    for (const id of ["download", "download-hinted"]) element(id).addEventListener("click", () => this.download());
    for (const [id, step] of [["previous", -1], ["next", 1]]) element(id).addEventListener("click", () => this.turn(step));
    initZoom();
    this.cut();
  }

  async open(file) {
    this.close();
    this.file = file;
    element("saturation").value = 1;
    element("cut").value = 50;
    this.cut();
    zoom(false);
    this.hints.open(file, 1);
    await this.colorize("auto");
  }

  // Another page of the file.
  async turn(step) {
    this.page = Math.min(Math.max(this.page + step, 1), this.pageCount);
    this.before = this.output = null;
    this.variants.clear();
    this.describePages();
    this.hints.open(this.file, this.page);
    await this.colorize("auto");
  }

  // Quality and metadata only matter for the download.
  optionChanged(name) {
    if (["routing", "threshold"].includes(name)) this.colorize();
    this.describeDownload();
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
    this.page = this.pageCount = 1;
    this.describePages();
    element("one").hidden = true;
  }

  // Requests saturation 1, which the slider scales; then the value of the slider, if it differs.
  async colorize(category = this.category) {
    if (!this.file) return;
    this.category = category;
    const signal = this.begin("Colorizing…");
    try {
      const file = this.file;
      const colorized = colorize(file, this.query(), signal, this.hints.hints());
      colorized.catch(() => {}); // it is handled below, after the preview
      if (!this.output) await this.preview(file, signal);
      const { decision, blob } = await colorized;
      if (!this.before) {
        const { blob: gray } = await colorize(file, { ...this.query(), saturation: 0 }, signal);
        signal.throwIfAborted();
        this.before = gray;
        await this.show("before", gray, signal);
      }
      signal.throwIfAborted();
      this.output = blob;
      await this.show("after", blob, signal);
      this.describe(decision);
      element("one").hidden = false;
      this.end();
      this.saturate();
      const { format, ...query } = this.query();
      this.variants.show(file, { ...query, category: "auto" });
    } catch (error) {
      this.fail(error);
    }
  }

  // Shows the input in gray while the server colorizes, if the browser can display it.
  async preview(file, signal) {
    element("candidates").replaceChildren();
    element("notes").replaceChildren();
    for (const id of ["category", "confidence", "reason"]) element(id).textContent = "";
    if (!isDisplayable(file)) return;
    await this.show("before", file, signal);
    await this.show("after", file, signal);
    element("after").style.filter = "grayscale(1)";
    if (!element("before").naturalWidth) return;
    this.before = file;
    element("one").hidden = false;
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
      const { blob } = await colorize(this.file, { ...this.query(), saturation }, signal, this.hints.hints());
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

  // Whether a download holds every page: only TIFF does, which is also the format of every input with several pages. Color points
  // are those of one page.
  downloadsAll() {
    return this.pageCount > 1 && !this.hints.points.length && [undefined, "tiff"].includes(chosenOptions("format").format);
  }

  async download() {
    const file = this.file;
    const { page, ...query } = this.query();
    const options = { ...query, format: "auto", ...chosenOptions(), saturation: element("saturation").value };
    this.showStatus("Preparing the download…");
    try {
      const { blob } = await colorize(file, this.downloadsAll() ? options : { ...options, page }, undefined, this.hints.hints());
      save(blob, outputName(file.name, blob.type));
      this.showStatus("");
    } catch (error) {
      this.fail(error);
    }
  }

  describeDownload() {
    const chosen = this.category === "auto" ? "" : ` as ${this.category}`;
    const pages = this.downloadsAll() ? ` all ${this.pageCount} pages${chosen}` : this.pageCount > 1 ? ` page ${this.page}` : "";
    for (const id of ["download", "download-hinted"]) element(id).textContent = `Download${pages}`;
  }

  describePages() {
    element("pages").hidden = this.pageCount < 2;
    element("page-title").textContent = `Page ${this.page} of ${this.pageCount}`;
    element("previous").disabled = this.page <= 1;
    element("next").disabled = this.page >= this.pageCount;
    this.describeDownload();
  }

  describe(decision) {
    this.pageCount = decision.page_count;
    this.describePages();
    element("notes").replaceChildren(...decision.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
    this.variants.press(decision);
    element("category").textContent = decision.category;
    element("confidence").textContent = decision.reason === "confident" ? percent(decision.confidence) : "";
    const experts = decision.experts.map(({ name }) => name).join(", ");
    element("reason").textContent = `${REASONS[decision.reason](decision)} ${decision.experts.length > 1 ? "Experts" : "Expert"}: ${experts}.`;
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
    clearTimeout(this.timer);
    this.work = new AbortController();
    if (text) this.showStatus(text);
    element("one").classList.add("busy");
    element("one").classList.remove("failed");
    return this.work.signal;
  }

  end() {
    this.showStatus("");
    element("one").classList.remove("busy");
  }

  fail(error) {
    if (error.name === "AbortError") return;
    this.end();
    if (!this.output) {
      element("one").hidden = this.pageCount < 2; // another page can be shown
      element("one").classList.add("failed");
    }
    this.showStatus(this.file ? `${this.file.name}: ${error.message}` : error.message, error);
  }
}
