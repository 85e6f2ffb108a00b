// The most probable categories of a picture, side by side, to choose from.

import { variants } from "./api.js";
import { percent } from "./files.js";

const element = (id) => document.getElementById(id);

const expertsOf = (decision) => decision.experts.map(({ name }) => name).join(); // variants differ in their experts

export class VariantsView {
  constructor(choose) {
    this.choose = choose;
  }

  // Requests the variants once for a file and these options, whichever of them is chosen then.
  async show(file, query) {
    const key = JSON.stringify(query);
    if (file === this.file && key === this.key) return;
    this.work?.abort();
    this.work = new AbortController();
    Object.assign(this, { file, key });
    const { signal } = this.work;
    element("variants").classList.add("loading");
    try {
      const found = await variants(file, query, signal);
      signal.throwIfAborted();
      this.replace(found.map((variant) => this.button(variant)));
      this.press(this.shown);
    } catch (error) {
      if (error.name !== "AbortError") this.clear(); // the picture itself is shown
    }
  }

  button({ decision, blob }) {
    const { category, top, reason, experts } = decision;
    const button = document.createElement("button");
    const image = document.createElement("img");
    const probability = top.find((one) => one.category === category)?.probability;
    image.src = URL.createObjectURL(blob);
    image.alt = "";
    button.type = "button";
    button.dataset.experts = expertsOf(decision);
    button.append(image, experts.length > 1 ? "blend" : probability === undefined ? category : `${category} ${percent(probability)}`);
    button.addEventListener("click", () => this.choose(reason === "requested" ? category : "auto"));
    return button;
  }

  // Marks the one that is shown.
  press(decision) {
    this.shown = decision;
    for (const button of element("variants").children) {
      button.setAttribute("aria-pressed", String(button.dataset.experts === expertsOf(decision)));
    }
  }

  replace(buttons) {
    element("variants").querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    element("variants").replaceChildren(...buttons);
    element("variants").classList.remove("loading");
  }

  clear() {
    this.work?.abort();
    this.file = this.key = null;
    this.replace([]);
  }
}
