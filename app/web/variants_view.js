// The most probable categories of a picture, side by side, to choose from.

import { variants } from "./api.js";
import { percent } from "./files.js";

const element = (id) => document.getElementById(id);

export class VariantsView {
  constructor(choose) {
    this.choose = choose;
  }

  async show(file, query, shown, signal) {
    try {
      const found = await variants(file, query, signal);
      signal.throwIfAborted();
      this.clear();
      element("variants").replaceChildren(...found.map((variant) => this.button(variant)));
      this.press(shown);
    } catch (error) {
      if (error.name !== "AbortError") this.clear(); // the picture itself is shown
    }
  }

  button({ decision, blob }) {
    const { category, top } = decision;
    const button = document.createElement("button");
    const image = document.createElement("img");
    image.src = URL.createObjectURL(blob);
    image.alt = "";
    button.type = "button";
    button.dataset.category = category;
    button.append(image, `${category} ${percent(top.find((one) => one.category === category)?.probability ?? 0)}`);
    button.addEventListener("click", () => this.choose(category));
    return button;
  }

  // Marks the category that is shown.
  press(shown) {
    for (const button of element("variants").children) button.setAttribute("aria-pressed", String(button.dataset.category === shown));
  }

  clear() {
    element("variants").querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    element("variants").replaceChildren();
  }
}
